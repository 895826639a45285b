#!/usr/bin/env python3
"""Readers that nobody here wrote agree with `huopan sql`.

usage: readers.py HUOPAN LAKE

Reads the tables of a published lake with deltalake, Polars (both through the Delta log) and DuckDB (over the files that
`huopan lake files` lists), and compares counts, sums of exact decimals, extremes of times and null counts with what
`huopan sql` answers. Exits 1 at the first difference.
"""
import json
import subprocess
import sys
from decimal import Decimal

import deltalake
import duckdb
import polars

huopan, lake = sys.argv[1:3]

# Per table: a decimal, an integer, a time, a text column that may be null (or None).
TABLES = {
    "offers": ("price", "offer_id", "fetched_at", "moq_raw"),
    "price_tiers": ("unit_price", "min_pieces", None, None),
    "skus": ("price", "sku_id", "fetched_at", "spec"),
    "shops": (None, "offer_count", "started_at", "incomplete_reason"),
    "runs": (None, "received", "finished_at", "error"),
    "calls": (None, "bytes", "sent_at", "shop_id"),
    "raw_pages": (None, "number", "received_at", "content_type"),
}


def facts_sql(table, decimal, integer, time, text):
    """One query, in words that DataFusion and DuckDB share."""
    micros = {"duckdb": "cast(epoch_us({c}) as bigint)", "datafusion": "cast(cast({c} as timestamp) as bigint) / 1000"}

    def query(engine, source):
        parts = ["count(*) as n"]
        parts.append(f"cast(sum({decimal}) as varchar) as d" if decimal else "null as d")
        parts.append(f"cast(sum({integer}) as varchar) as i" if integer else "null as i")
        t = micros[engine].format(c=f"max({time})") if time else "null"
        parts.append(f"cast({t} as varchar) as t")
        parts.append(f"cast(count(*) - count({text}) as varchar) as nulls" if text else "null as nulls")
        return f"select cast(dt as varchar) as dt, pipeline, {', '.join(parts)} from {source} group by dt, pipeline order by dt, pipeline"

    return query


def normal(rows):
    """Rows as comparable values."""
    out = []
    for dt, pipeline, n, d, i, t, nulls in rows:
        out.append((str(dt)[:10], pipeline, int(n), Decimal(d).normalize() if d is not None else None,
                    int(Decimal(i)) if i is not None else None, int(t) if t is not None else None,
                    int(nulls) if nulls is not None else None))
    return out


def by_huopan(query, table):
    text = subprocess.run([huopan, "sql", "--lake", lake, "--format", "json", "-c", query("datafusion", table)],
                          check=True, capture_output=True, text=True).stdout
    return normal([(r["dt"], r["pipeline"], r["n"], r.get("d"), r.get("i"), r.get("t"), r.get("nulls")) for r in json.loads(text)])


def by_duckdb(query, table):
    files = subprocess.run([huopan, "lake", "files", table, "--lake", lake], check=True, capture_output=True, text=True).stdout.split("\n")
    files = [f for f in files if f]
    if not files:
        return []
    source = f"read_parquet({json.dumps(files, ensure_ascii=False).replace(chr(34), chr(39))}, hive_partitioning = true)"
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    return normal(con.execute(query("duckdb", source)).fetchall())


def by_frame(frame, decimal, integer, time, text):
    rows = []
    for (dt, pipeline), part in sorted(frame.group_by("dt", "pipeline"), key=lambda group: group[0]):
        total = lambda column: sum((v for v in part[column].to_list() if v is not None), Decimal(0)) if part[column].count() else None
        rows.append((dt, pipeline, len(part),
                     str(total(decimal)) if decimal and total(decimal) is not None else None,
                     str(total(integer)) if integer and total(integer) is not None else None,
                     part[time].dt.epoch("us").max() if time else None,
                     part[text].null_count() if text else None))
    return normal(rows)


def by_polars(table, *columns):
    return by_frame(polars.read_delta(f"{lake}/{table}"), *columns)


def by_deltalake(table, *columns):
    delta = deltalake.DeltaTable(f"{lake}/{table}")
    return by_frame(polars.from_arrow(delta.to_pyarrow_table()), *columns)


for table, columns in TABLES.items():
    query = facts_sql(table, *columns)
    expected = by_huopan(query, table)
    readers = {
        "duckdb": by_duckdb(query, table),
        "polars": by_polars(table, *columns),
        "deltalake": by_deltalake(table, *columns),
    }
    for reader, found in readers.items():
        if found != expected:
            print(f"{table}: {reader} reads {found}\n   huopan sql answers {expected}", file=sys.stderr)
            sys.exit(1)
    print(f"{table}: {sum(row[2] for row in expected)} rows in {len(expected)} partitions, "
          f"the same for huopan, {', '.join(readers)}")
print(f"{len(TABLES)} passed, 0 failed")
