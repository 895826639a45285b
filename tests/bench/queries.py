#!/usr/bin/env python3
"""Five questions of an analyst, whole process from start to answer, beside other engines on the same Parquet files.

usage: queries.py HUOPAN LAKE [--rounds N] [--duckdb-cli PATH]

LAKE is a folder with three days of one pipeline (lake.py makes one with a million offers a day). Each engine is asked each
question once a round, in turn, so that what else the machine does meets all alike; printed are medians of wall time, and
huopan's as a ratio to the fastest other engine (below 1: huopan is faster). Rows must agree between engines.

Engines: huopan sql, DuckDB (Python and, where it is found, the CLI), DataFusion (Python), Polars; two threads each. Needs the packages of
requirements.txt beside this file; an engine that is not installed is left out and said to be.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

THREADS = 2
KEYWORDS = ("保温杯 数据线 手机壳 连衣裙 运动鞋 雨伞 毛巾 收纳盒 台灯 耳机 充电宝 双肩包 袜子 口罩 玩具车 钥匙扣 帆布袋 剃须刀 电饭煲 瑜伽垫").split()

# What is asked of everybody; {like}: whether a title has a keyword.
SQL = {
    "keywords": """
        with k(kw) as (values {values}),
             o as (select offer_id, title from offers where dt = date '{last}'),
             t as (select offer_id, unit_price from price_tiers
                   where dt = date '{last}' and sku_id is null and min_quantity <= 500
                     and (max_quantity >= 500 or max_quantity is null))
        select kw, min(unit_price) as cheapest, count(*) as n from k join o on {like} join t on t.offer_id = o.offer_id
        group by kw order by kw""",
    "one offer": """
        select dt, tier_no, min_quantity, max_quantity, unit_price from price_tiers
        where offer_id = {offer} order by dt, tier_no""",
    "medians": """
        select o.dt, o.shop_id, median(cast(t.unit_price as double)) as median, count(*) as n
        from offers o join price_tiers t on t.dt = o.dt and t.offer_id = o.offer_id
        where t.sku_id is null
          and ((o.moq_quantity is null and t.tier_no = 1)
            or (o.moq_quantity >= t.min_quantity and (t.max_quantity is null or o.moq_quantity <= t.max_quantity)))
        group by o.dt, o.shop_id order by o.dt, o.shop_id""",
    "changes": """
        select b.offer_id, b.dt, a.unit_price as old, b.unit_price as new,
               cast(b.unit_price as double) / cast(a.unit_price as double) - 1 as change
        from price_tiers a join price_tiers b on a.offer_id = b.offer_id and b.dt = a.dt + {day}
        where a.tier_no = 1 and b.tier_no = 1 and a.sku_id is null and b.sku_id is null and a.unit_price <> b.unit_price
        order by abs(cast(b.unit_price as double) / cast(a.unit_price as double) - 1) desc, b.offer_id, b.dt limit 100""",
    "days": """
        select dt, count(*) as n, avg(sales_count) as sales, avg(stock_pieces) as stock from offers group by dt order by dt""",
    "nothing": "select 1 as one",
}
# huopan has a function for many keywords at once; all else it is asked in the same words.
MATCHES = """
    select m.keyword as kw, min(t.unit_price) as cheapest, count(*) as n
    from title_matches('{keywords}') m join latest.price_tiers t on t.offer_id = m.offer_id
    where t.sku_id is null and t.min_quantity <= 500 and (t.max_quantity >= 500 or t.max_quantity is null)
    group by m.keyword order by m.keyword"""

PYTHON = {
    "DuckDB": """
import sys, json, duckdb
files, sql = json.load(open(sys.argv[1])), sys.argv[2]
c = duckdb.connect(config={"threads": %d})
for table, paths in files.items():
    c.execute(f"create view {table} as select * from read_parquet({paths}, hive_partitioning = true)")
rows = c.execute(sql).fetchall()
""" % THREADS,
    "DataFusion": """
import sys, json, pyarrow as pa
from datafusion import SessionConfig, SessionContext
files, sql = json.load(open(sys.argv[1])), sys.argv[2]
config = {"datafusion.execution.parquet.pushdown_filters": "true"}
c = SessionContext(SessionConfig(config).with_target_partitions(%d))
for table, paths in files.items():
    folder = paths[0].split("/" + table + "/")[0] + "/" + table + "/"
    c.register_parquet(table, folder, table_partition_cols=[("dt", pa.date32()), ("pipeline", pa.string())])
rows = [tuple(row.values()) for batch in c.sql(sql).collect() for row in batch.to_pylist()]
""" % THREADS,
    "Polars": """
import os, sys, json
os.environ["POLARS_MAX_THREADS"] = "%d"
import polars as pl
from datetime import date
files, question, last, offer, keywords = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5].split(",")
scan = lambda table: pl.scan_parquet(files[table], hive_partitioning=True, try_parse_hive_dates=True)
c = pl.col
def of_offers(frame): return frame.filter(c("sku_id").is_null())
if question == "keywords":
    day = date.fromisoformat(last)
    tiers = of_offers(scan("price_tiers").filter(c("dt") == day)).filter(
        (c("min_quantity") <= 500) & ((c("max_quantity") >= 500) | c("max_quantity").is_null())).select("offer_id", "unit_price")
    offers = scan("offers").filter(c("dt") == day).select(
        "offer_id", c("title").str.extract_many(keywords, overlapping=True).list.unique().alias("kw")).filter(
        c("kw").list.len() > 0).explode("kw")
    frame = offers.join(tiers, on="offer_id").group_by("kw").agg(c("unit_price").min(), pl.len()).sort("kw")
elif question == "one offer":
    frame = scan("price_tiers").filter(c("offer_id") == offer).select(
        "dt", "tier_no", "min_quantity", "max_quantity", "unit_price").sort("dt", "tier_no")
elif question == "medians":
    offers = scan("offers").select("dt", "offer_id", "shop_id", "moq_quantity")
    tiers = of_offers(scan("price_tiers")).select("dt", "offer_id", "tier_no", "min_quantity", "max_quantity", "unit_price")
    frame = offers.join(tiers, on=["dt", "offer_id"]).filter(
        (c("moq_quantity").is_null() & (c("tier_no") == 1))
        | ((c("moq_quantity") >= c("min_quantity")) & (c("max_quantity").is_null() | (c("moq_quantity") <= c("max_quantity"))))
    ).group_by("dt", "shop_id").agg(c("unit_price").cast(pl.Float64).median(), pl.len()).sort("dt", "shop_id")
elif question == "changes":
    new = of_offers(scan("price_tiers")).filter(c("tier_no") == 1).select("offer_id", "dt", c("unit_price").alias("new"))
    old = new.select("offer_id", (c("dt") + pl.duration(days=1)).alias("dt"), c("new").alias("old"))
    frame = new.join(old, on=["offer_id", "dt"]).filter(c("old") != c("new")).with_columns(
        (c("new").cast(pl.Float64) / c("old").cast(pl.Float64) - 1).alias("change")).sort(
        [c("change").abs(), "offer_id", "dt"], descending=[True, False, False]).head(100).select("offer_id", "dt", "old", "new", "change")
elif question == "days":
    frame = scan("offers").group_by("dt").agg(pl.len(), c("sales_count").mean(), c("stock_pieces").mean()).sort("dt")
else:
    frame = pl.LazyFrame({"one": [1]})
rows = frame.collect(engine="streaming").rows()
""" % THREADS,
}
PRINT = """
def plain(value):
    if value is None: return ""
    if isinstance(value, float): return f"{value:.6g}"
    return str(value)
for row in rows: print("|".join(plain(value) for value in row))
"""


def rows_of(text):
    """Rows as text that compares: numbers of six digits, empty for null."""
    def plain(value):
        try:
            return f"{float(value):.6g}"
        except ValueError:
            return value
    return [[plain(value) for value in line.split("|")] for line in text.splitlines()]


class Huopan:
    name = "huopan"

    def __init__(self, program, lake):
        self.program, self.lake = program, lake

    def command(self, question, words):
        sql = MATCHES.format(keywords=",".join(KEYWORDS)) if question == "keywords" else SQL[question].format(
            **words, day="1", like="")
        return [self.program, "sql", "--lake", self.lake, "--format", "json", "-c", sql]

    def rows(self, out):
        return rows_of("\n".join("|".join("" if value is None else str(value) for value in row.values()) for row in json.loads(out)))


class Python:
    def __init__(self, name, files):
        self.name, self.files = name, files
        self.code = PYTHON[name] + PRINT

    def command(self, question, words):
        if self.name == "Polars":
            more = [question, words["last"], str(words["offer"]), ",".join(KEYWORDS)]
        elif self.name == "DuckDB":
            more = [SQL[question].format(**words, day="1", like="contains(o.title, k.kw)")]
        else:
            more = [SQL[question].format(**words, day="interval '1 day'", like="strpos(o.title, k.kw) > 0")]
        return [sys.executable, "-c", self.code, self.files, *more]

    def rows(self, out):
        return rows_of(out)


class DuckDbCli:
    name = "DuckDB CLI"

    def __init__(self, program, files):
        self.program = program
        views = (f"create view {table} as select * from read_parquet({paths}, hive_partitioning = true);"
                 for table, paths in json.load(open(files)).items())
        self.views = f"set threads = {THREADS};" + "".join(views)

    def command(self, question, words):
        sql = SQL[question].format(**words, day="1", like="contains(o.title, k.kw)")
        return [self.program, "-list", "-noheader", "-nullvalue", "", "-c", self.views + sql]

    def rows(self, out):
        return rows_of(out)


def installed(package):
    return subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True).returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("huopan")
    parser.add_argument("lake")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duckdb-cli", default=shutil.which("duckdb"))
    arguments = parser.parse_args()

    def ask(sql):
        run = subprocess.run([arguments.huopan, "sql", "--lake", arguments.lake, "--format", "json", "-c", sql],
                             check=True, capture_output=True, text=True)
        return json.loads(run.stdout)

    last = ask("select cast(max(dt) as varchar) as dt from shops")[0]["dt"]
    offer = ask(f"select approx_percentile_cont(offer_id, 0.37) as near, max(offer_id) as most from offers where dt = date '{last}'")[0]
    offer = ask(f"select min(offer_id) as id from offers where dt = date '{last}' and offer_id >= {offer['near']}")[0]["id"]
    words = {"last": last, "offer": offer, "values": ",".join(f"('{keyword}')" for keyword in KEYWORDS)}
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder) / "files.json"
        listed = {}
        for table in ("offers", "price_tiers"):
            run = subprocess.run([arguments.huopan, "lake", "files", table, "--lake", arguments.lake], check=True,
                                 capture_output=True, text=True)
            listed[table] = [os.path.abspath(path) for path in run.stdout.split("\n") if path]
        files.write_text(json.dumps(listed))
        engines = [Huopan(arguments.huopan, arguments.lake)]
        engines += [Python(name, str(files)) for name in PYTHON if installed(name.lower())]
        if arguments.duckdb_cli:
            engines.append(DuckDbCli(arguments.duckdb_cli, str(files)))
        left_out = [name for name in PYTHON if not installed(name.lower())] + ([] if arguments.duckdb_cli else ["DuckDB CLI"])
        if left_out:
            print(f"not installed, left out: {', '.join(left_out)}")
        times, answers = {}, {}
        for round_ in range(arguments.rounds + 1):
            for question in SQL:
                for engine in engines:
                    begun = time.perf_counter()
                    run = subprocess.run(engine.command(question, words), capture_output=True, text=True)
                    took = time.perf_counter() - begun
                    if run.returncode != 0:
                        sys.exit(f"{engine.name}, {question}: {run.stderr}")
                    if round_ == 0:
                        # The first one warms the page cache and shows the rows.
                        answers[question, engine.name] = engine.rows(run.stdout)
                    else:
                        times.setdefault((question, engine.name), []).append(took)
    wrong = []
    for question in SQL:
        expected = answers[question, engines[0].name]
        for engine in engines[1:]:
            found = answers[question, engine.name]
            if found != expected:
                pair = next(((mine, theirs) for mine, theirs in zip(expected, found) if mine != theirs), None)
                wrong.append(f"{question}: {engine.name} has {len(found)} rows, huopan {len(expected)}; first difference {pair}")
    names = [engine.name for engine in engines]
    print(f"\nmedians of {arguments.rounds} rounds, wall milliseconds of the whole process")
    print("| question | " + " | ".join(names) + " | huopan ÷ fastest other |")
    print("|---" * (len(names) + 2) + "|")
    for question in SQL:
        medians = {name: statistics.median(times[question, name]) for name in names}
        ratio = medians["huopan"] / min(medians[name] for name in names[1:])
        print(f"| {question} | " + " | ".join(f"{medians[name] * 1000:.0f}" for name in names) + f" | {ratio:.2f} |")
    if wrong:
        sys.exit("\n".join(["", "rows differ:", *wrong]))


main()
