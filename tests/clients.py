#!/usr/bin/env python3
"""Clients that nobody here wrote work with `huopan serve`.

usage: clients.py HUOPAN LAKE

LAKE is a folder, or s3://bucket/prefix on the server that the AWS_* variables name. Serves it with a password and TLS, and
asks it with psql (its backslash commands, rows, errors), psycopg 3 (values, exact decimals, dates, binary, cursors),
SQLAlchemy with pandas (queries, reflection) and the queries of BI tools in clients-catalog.sql; compares what they read with
what `huopan sql` answers. Exits 1 at the first difference.
"""
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from decimal import Decimal

import pandas
import psycopg
import sqlalchemy

huopan, lake = sys.argv[1:3]
PASSWORD = "the password of the test"
here = pathlib.Path(__file__).parent


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r} instead of {expected!r}")


def fails(what, action, code):
    try:
        action()
    except psycopg.Error as error:
        check(f"{what}: {error}", error.sqlstate, code)
        return error
    sys.exit(f"{what}: was not refused")


def sql(query):
    """The rows as `huopan sql` answers them."""
    run = subprocess.run([huopan, "sql", "--lake", lake, "--format", "json", "-c", query], check=True, capture_output=True)
    return json.loads(run.stdout)


class Server:
    """`huopan serve` with one user and a certificate of its own."""

    def __init__(self, folder):
        users, key, certificate = (folder / name for name in ("users", "key.pem", "cert.pem"))
        subprocess.run([huopan, "serve", "adduser", "ann", "--users", users], input=f"{PASSWORD}\n".encode(), check=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        self.process = subprocess.Popen(
            [huopan, "--log", "text", "serve", "--listen", "127.0.0.1:0", "--lake", lake, "--users", users,
             "--tls-cert", certificate, "--tls-key", key], stderr=subprocess.PIPE, text=True)
        line = ""
        for line in self.process.stderr:
            if found := re.search(r" on 127\.0\.0\.1:(\d+):", line):
                break
        else:
            sys.exit(f"the server does not start: {line}")
        self.port = found.group(1)
        self.certificate = str(certificate)
        self.words = (f"host=127.0.0.1 port={self.port} user=ann dbname=huopan sslmode=verify-full "
                      f"sslrootcert={certificate}")
        self.url = (f"postgresql+psycopg://ann:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/huopan"
                    f"?sslmode=verify-full&sslrootcert={certificate}")

    def connect(self, **options):
        return psycopg.connect(self.words, password=PASSWORD, **options)

    def end(self):
        self.process.terminate()
        self.process.stderr.read()
        check("the server's exit code", self.process.wait(30), 0)


def psql(server):
    def run(*arguments, code=0):
        env = {**os.environ, "PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "20"}
        command = ["psql", server.words, "-X", "-v", "ON_ERROR_STOP=1", *arguments]
        ended = subprocess.run(command, env=env, capture_output=True, text=True)
        if ended.returncode != code:
            sys.exit(f"psql {arguments}: {ended}")
        return ended.stdout + ended.stderr

    offers = sql("select count(*) as n from offers")[0]["n"]
    check("psql", run("-At", "-c", "select count(*) from offers"), f"{offers}\n")
    check("psql, several", run("-At", "-c", "select 1; select 2"), "1\n2\n")
    for command, words in {
        r"\d": ["offers", "latest_offers", "view"],
        r"\dt": ["offers", "price_tiers", "runs"],
        r"\dv": ["latest_offers", "price_changes"],
        r"\d offers": ["offer_id", "bigint", "title", "numeric", "date"],
        r"\d latest_offers": ["offer_id"],
        r"\d+ offers": ["offer_id", "商品编号 · Item id"],
        r"\d+ latest_offers": ["offer_id", "商品编号 · Item id", "FROM latest.offers AS t"],
        r"\dt+": ["price_tiers", "商品 · One row per offer per day"],
        r"\dv+": ["latest_offers", "one row per offer"],
        r"\sv latest_offers": ["CREATE OR REPLACE VIEW public.latest_offers AS", "FROM latest.offers AS t"],
        r"\df": ["price_at", "title_fits"],
        r"\df price_at": ["SETOF record", "pieces bigint, dt date DEFAULT NULL"],
        r"\df substr": ["bytea", "text, integer, integer"],
        r"\df+ price_history": ["every published day of one offer"],
        r"\sf price_at": ["CREATE OR REPLACE FUNCTION public.price_at(pieces bigint"],
        r"\dT": [],
        r"\dT+": [],
        r"\dd": ["Object descriptions"],
        r"\do": ["List of operators"],
        r"\dconfig": ["application_name"],
        r"\dp": ["offers"],
        r"\l": ["huopan"],
        r"\l+": ["huopan"],
        r"\dn": ["public"],
        r"\dn+": ["public"],
        r"\db": [],
        r"\dx": [],
        r"\du": ["ann"],
        r"\conninfo": ["ann", "TLS"],
    }.items():
        found = run("-c", command)
        for word in words:
            if word not in found:
                sys.exit(f"psql {command}: no `{word}` in {found}")
        if command == r"\dt" and "latest_offers" in found:
            sys.exit(f"psql {command} lists views: {found}")
    said = run("-c", "select pric from offers", code=1)
    for word in ('ERROR:  there is no column `pric`', "LINE 1: select pric from offers", "HINT:  did you mean `price`?"):
        if word not in said:
            sys.exit(f"psql shows no `{word}`: {said}")
    said = run("-c", "create table x (a int)", code=1)
    if "read-only" not in said:
        sys.exit(f"psql: {said}")
    print("psql: ok")


def psycopg_3(server):
    rows = sql("select offer_id, title, cast(price as varchar) as price, cast(dt as varchar) as dt from offers "
               "where price is not null order by dt, offer_id limit 5")
    query = "select offer_id, title, price, dt from offers where price is not null order by dt, offer_id limit 5"
    expected = [(row["offer_id"], row["title"], Decimal(row["price"]), datetime.date.fromisoformat(row["dt"]))
                for row in rows]
    with server.connect() as connection:
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                check(f"psycopg, binary={binary}", cursor.execute(query).fetchall(), expected)
        offer, title, price, dt = expected[0]
        found = connection.execute(
            "select title from offers where offer_id = %s and dt = %s and price = %s and title = %s and pipeline = any(%s)",
            (offer, dt, price, title, [row["pipeline"] for row in sql("select distinct pipeline from offers")]))
        check("psycopg, values", found.fetchall()[0], (title,))
        some = [price, price + Decimal("0.000000001"), None]
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                check(f"psycopg, decimals in a list, binary={binary}", cursor.execute(
                    "select distinct price from offers where price = any(%s)", (some,)).fetchall(), [(price,)])
                check(f"psycopg, texts and dates in lists, binary={binary}", cursor.execute(
                    "select %s::text[], %s::date[]", (["a", None, "", "NULL", 'q",'], [dt, None])).fetchone(),
                      (["a", None, "", "NULL", 'q",'], [dt, None]))
                check(f"psycopg, a limit, binary={binary}", cursor.execute(
                    "select offer_id from offers where price is not null order by dt, offer_id limit %s offset %s",
                    (2, 1)).fetchall(), [(row[0],) for row in expected[1:3]])
                check(f"psycopg, arguments, binary={binary}", cursor.execute(
                    "select count(*) from price_at(%s, %s) where price_per_piece < %s", (500, dt, 1000)).fetchone(),
                      (sql(f"select count(*) as n from price_at(500, '{dt}') where price_per_piece < 1000")[0]["n"],))
        twice = connection.execute("select o.dt, o.*, exists(select 1 from skus) from offers o limit 1")
        check("psycopg, a column twice", [column.name for column in twice.description].count("dt"), 2)
        check("psycopg, a number of another kind", connection.execute(
            "select count(*) from offers where price > %s and price < %s", (price - 1, 10**9)).fetchone()[0] > 0, True)
        more = price + Decimal("0.000000001")
        check("psycopg, a decimal between two", connection.execute(
            "select count(*) from offers where price = %s", (more,)).fetchone(), (0,))
        check("psycopg, nulls", connection.execute(
            "select null::int, null::text, null::numeric, null::date, %s::text", (None,)).fetchone(), (None,) * 5)
        instant = connection.execute("select max(fetched_at) from offers").fetchone()[0]
        check("psycopg, an instant", instant.utcoffset(), datetime.timedelta(0))
        connection.execute("set timezone to 'Asia/Shanghai'")
        again = connection.execute("select max(fetched_at) from offers").fetchone()[0]
        check("psycopg, an instant in another zone", (again, again.utcoffset()), (instant, datetime.timedelta(hours=8)))
        lists = connection.execute("select image_urls from offers where image_urls is not null limit 1").fetchone()
        check("psycopg, a list", lists is None or all(isinstance(url, str) for url in lists[0]), True)
        types = connection.execute("select column_name, data_type, udt_name from information_schema.columns "
                                   "where table_schema = 'public' and table_name = 'offers'").fetchall()
        for column in [("offer_id", "bigint", "int8"), ("title", "text", "text"), ("price", "numeric", "numeric"), ("dt", "date", "date"),
                       ("fetched_at", "timestamp with time zone", "timestamptz"), ("image_urls", "ARRAY", "_text"),
                       ("title_truncated", "boolean", "bool")]:
            check(f"information_schema, {column[0]}", column in types, True)
        zone = connection.execute("select current_setting('timezone'), current_setting('no.such', true)").fetchone()
        check("psycopg, a setting", zone, ("Asia/Shanghai", None))
        connection.commit()
        # A cursor on the server: rows come as they are asked for.
        with connection.cursor(name="c") as cursor:
            cursor.itersize = 7
            cursor.execute("select offer_id from offers where price > %s order by offer_id", (0,))
            found = [row[0] for row in cursor]
        check("psycopg, a cursor", found, [row["offer_id"] for row in sql(
            "select offer_id from offers where price > 0 order by offer_id")])
        connection.commit()
        for query in ("create table x (a int)", "insert into offers (offer_id) values (1)", "delete from offers",
                      "drop table offers", "copy offers to '/tmp/offers'", "copy (select 1) to stdout",
                      "select 1 into x"):
            fails(query, lambda query=query: connection.execute(query), "25006")
            connection.rollback()
        fails("an engine's option", lambda: connection.execute("set datafusion.execution.batch_size = 1"), "42501")
        connection.rollback()
        error = fails("an unknown table", lambda: connection.execute("select * from ofers"), "42P01")
        check("its hint", error.diag.message_hint, "did you mean `offers`?")
        check("its position", error.diag.statement_position, "15")
        connection.rollback()
        fails("a slip", lambda: connection.execute("selec 1"), "42601")
        connection.rollback()
        connection.execute("set statement_timeout = '200ms'")
        fails("a long query", lambda: connection.execute(
            "select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b where a * b = 7"),
              "57014")
    fails("a wrong password", lambda: psycopg.connect(server.words, password="wrong"), None)
    fails("no TLS", lambda: psycopg.connect(server.words, password=PASSWORD, sslmode="disable"), None)
    print("psycopg: ok")


def sqlalchemy_and_pandas(server):
    engine = sqlalchemy.create_engine(server.url)
    inspector = sqlalchemy.inspect(engine)
    tables, views = set(inspector.get_table_names()), set(inspector.get_view_names())
    check("reflection, tables", {"offers", "price_tiers", "skus", "shops", "runs"} <= tables, True)
    check("reflection, views", "latest_offers" in views and "latest_offers" not in tables, True)
    columns = {column["name"]: column["type"] for column in inspector.get_columns("offers")}
    for name, kind in {"offer_id": sqlalchemy.BigInteger, "title": sqlalchemy.Text, "price": sqlalchemy.Numeric,
                       "dt": sqlalchemy.Date, "fetched_at": sqlalchemy.DateTime}.items():
        check(f"reflection, {name}", isinstance(columns[name], kind), True)
    comments = {column["name"]: column["comment"] for column in inspector.get_columns("offers")}
    check("reflection, comments", (inspector.get_table_comment("offers")["text"], comments["title"].split(" · ")[0]),
          ("商品 · One row per offer per day.", "标题"))
    check("reflection, a view's query", "FROM latest.offers" in inspector.get_view_definition("latest_offers"), True)
    for ask in (inspector.get_pk_constraint, inspector.get_foreign_keys, inspector.get_indexes):
        ask("offers")
    offers = sqlalchemy.Table("offers", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        counted = connection.execute(
            sqlalchemy.select(sqlalchemy.func.count()).select_from(offers).where(offers.c.price > Decimal("1.5"))).scalar()
    check("a query that is built", counted, sql("select count(*) as n from offers where price > 1.5")[0]["n"])
    query = "select dt, pipeline, count(*) as n, sum(price) as total from offers group by dt, pipeline order by dt, pipeline"
    frame = pandas.read_sql(query, engine)
    expected = sql("select cast(dt as varchar) as day, pipeline, count(*) as n, cast(sum(price) as varchar) as total from offers "
                   "group by dt, pipeline order by dt, pipeline")
    check("pandas", [(str(row.dt), row.pipeline, row.n) for row in frame.itertuples()],
          [(row["day"], row["pipeline"], row["n"]) for row in expected])
    check("pandas, decimals", [None if pandas.isna(total) else float(total) for total in frame["total"]],
          [row["total"] and float(row["total"]) for row in expected])
    frame = pandas.read_sql(sqlalchemy.text("select * from price_at(500) where price_per_piece < :most"), engine,
                            params={"most": Decimal("1000")})
    check("pandas, a function", len(frame), len(sql("select * from price_at(500) where price_per_piece < 1000")))
    engine.dispose()
    print("SQLAlchemy and pandas: ok")


def tools(server):
    text = (here / "clients-catalog.sql").read_text()
    blocks = re.split(r"^-- (?!rows)(\w+): (.+)$", text, flags=re.MULTILINE)[1:]
    wrong = []
    counts = {}
    with server.connect(autocommit=True) as connection:
        for tool, title, query in zip(blocks[::3], blocks[1::3], blocks[2::3]):
            counts[tool] = counts.get(tool, 0) + 1
            least = re.search(r"^-- rows: (\d+)$", query, flags=re.MULTILINE)
            for binary in (False, True):
                try:
                    cursor = connection.cursor(binary=binary).execute(query)
                    rows = cursor.fetchall() if cursor.description else []
                    if least and len(rows) < int(least.group(1)):
                        wrong.append(f"{tool}, {title}: {len(rows)} rows")
                except psycopg.Error as error:
                    wrong.append(f"{tool}, {title}: {error.sqlstate} {error}")
    if wrong:
        sys.exit("\n".join(wrong))
    print("; ".join(f"{tool}: {count} queries ok" for tool, count in counts.items()))


with tempfile.TemporaryDirectory() as folder:
    server = Server(pathlib.Path(folder))
    try:
        psql(server)
        psycopg_3(server)
        sqlalchemy_and_pandas(server)
        tools(server)
        server.end()
    finally:
        server.process.kill()
