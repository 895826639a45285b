#!/usr/bin/env python3
"""Makes the lake that queries.py asks: simulated shops, fetched and published on three days with nothing switched off.

usage: lake.py HUOPAN FOLDER [--offers 1000000] [--days 3] [--changed-per-mille 80]

FOLDER/lake is the lake. What each night took is printed. Nothing but this machine is called.
"""
import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.request

SHOP = 2000

DEFINITION = """
extends = "portals"
name = "portals"
[limits]
calls_per_day = { paid = 1000000 }
calls_per_second = 10000
calls_in_flight = 16
pause_seconds = { success = 0, failure = 0, throttle = 0 }
"""
PIPELINE = """
name = "bench"
gateway = "./portals.toml"
url = "http://%(address)s/portals/openapi/param2/2/portals.open/api/"
shops = %(shops)s
[[accounts]]
name = "main"
credentials = { app_key = "sim-app", app_secret = "env:HUOPAN_APP_SECRET" }
licence = "paid"
[lake]
url = "lake"
[state]
url = "state.sqlite"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("huopan")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--offers", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--changed-per-mille", type=int, default=80)
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [SHOP] * (arguments.offers // SHOP) + ([arguments.offers % SHOP] if arguments.offers % SHOP else [])
    last = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))).date()
    first = last - datetime.timedelta(days=arguments.days - 1)
    sim = subprocess.Popen([arguments.huopan, "sim", "--listen", "127.0.0.1:0", "--day", str(first), "--shops", ",".join(map(str, sizes)),
                            "--changed-per-mille", str(arguments.changed_per_mille)], stdout=subprocess.PIPE, text=True)
    try:
        address = sim.stdout.readline().split("http://")[1].split()[0]
        with urllib.request.urlopen(f"http://{address}/_sim/world?offers=no") as world:
            shops = [shop["shop_id"] for shop in json.load(world)["shops"]]
        (folder / "portals.toml").write_text(DEFINITION)
        (folder / "pipeline.toml").write_text(PIPELINE % {"address": address, "shops": json.dumps(shops)})
        env = {**os.environ, "HUOPAN_APP_SECRET": "sim-secret"}
        for number in range(arguments.days):
            day = str(first + datetime.timedelta(days=number))
            request = urllib.request.Request(f"http://{address}/_sim/day", data=day.encode(), method="POST")
            urllib.request.urlopen(request).read()
            begun = time.perf_counter()
            run = subprocess.Popen([arguments.huopan, "run", "--quiet", folder / "pipeline.toml", "--dt", day], env=env, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(run.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            if code != 0:
                sys.exit(f"the night of {day} ended with {code}")
            print(f"{day}: {time.perf_counter() - begun:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} CPU s, peak {usage.ru_maxrss >> 10} MiB")
    finally:
        sim.kill()


main()
