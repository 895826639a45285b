#!/usr/bin/env python3
"""Readers that nobody here wrote agree with `huopan sql`.

usage: readers.py HUOPAN LAKE EXPORT

LAKE and EXPORT are folders, or s3://bucket/prefix on the server that the AWS_* variables name. Reads the tables of a
published lake with deltalake, Polars, Daft (all three through the Delta log), DuckDB and pyarrow (both over the files that
`huopan lake files` lists), and an exported lake (`huopan lake export`) with DuckDB, pyarrow and Spark; compares counts,
sums of exact decimals, extremes of times and null counts with what `huopan sql` answers. Exits 1 at the first difference.

Spark's S3 client is a download of its own, and no Python package: from s3:// it reads the exported day after pyarrow
has brought its objects into a folder, byte by byte as they are.
"""
import importlib.resources
import json
import os
import subprocess
import sys
import tempfile
from decimal import Decimal

import daft
import deltalake
import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.fs

huopan, lake, export = sys.argv[1:4]
on_s3 = lake.startswith("s3://")
endpoint = os.environ.get("AWS_ENDPOINT_URL", "")

# Per table: a decimal, an integer, a time, a text column that may be null (or None).
TABLES = {
    "offers": ("price", "offer_id", "fetched_at", "moq_raw"),
    "price_tiers": ("unit_price", "min_pieces", None, None),
    "skus": ("price", "sku_id", "fetched_at", "spec"),
    "shops": ("price_complete_rate", "offer_count", "started_at", "incomplete_reason"),
    "runs": (None, "received", "finished_at", "error"),
    "calls": (None, "bytes", "sent_at", "shop_id"),
    "raw_pages": (None, "number", "received_at", "content_type"),
}


def facts_sql(engine, source, decimal, integer, time, text):
    """One query, in words that the engines share but for the microseconds of a time."""
    micros = {"duckdb": "cast(epoch_us({c}) as bigint)", "spark": "unix_micros({c})",
              "datafusion": "cast(cast({c} as timestamp) as bigint) / 1000"}[engine]
    words = "string" if engine == "spark" else "varchar"
    parts = ["count(*) as n"]
    parts.append(f"cast(sum({decimal}) as {words}) as d" if decimal else "null as d")
    parts.append(f"cast(sum({integer}) as {words}) as i" if integer else "null as i")
    parts.append(f"cast({micros.format(c=f'max({time})')} as {words}) as t" if time else "null as t")
    parts.append(f"cast(count(*) - count({text}) as {words}) as nulls" if text else "null as nulls")
    return (f"select cast(dt as {words}) as dt, pipeline, {', '.join(parts)} from {source} "
            "group by dt, pipeline order by dt, pipeline")


def normal(rows):
    """Rows as comparable values."""
    out = []
    for dt, pipeline, n, d, i, t, nulls in rows:
        out.append((str(dt)[:10], pipeline, int(n), Decimal(d).normalize() if d is not None else None,
                    int(Decimal(i)) if i is not None else None, int(t) if t is not None else None,
                    int(nulls) if nulls is not None else None))
    return sorted(out)


def by_huopan(table, columns):
    query = facts_sql("datafusion", table, *columns)
    text = subprocess.run([huopan, "sql", "--lake", lake, "--format", "json", "-c", query],
                          check=True, capture_output=True, text=True).stdout
    return normal([(r["dt"], r["pipeline"], r["n"], r.get("d"), r.get("i"), r.get("t"), r.get("nulls"))
                   for r in json.loads(text)])


def lake_files(table):
    text = subprocess.run([huopan, "lake", "files", table, "--lake", lake],
                          check=True, capture_output=True, text=True).stdout
    return text.split("\n")[:-1]


def connect_duckdb():
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    if on_s3:
        package = importlib.resources.files("duckdb_extension_httpfs")
        con.load_extension(str(package / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"))
        con.execute(f"""create secret (type s3, key_id '{os.environ["AWS_ACCESS_KEY_ID"]}',
            secret '{os.environ["AWS_SECRET_ACCESS_KEY"]}', region '{os.environ["AWS_REGION"]}', url_style 'path',
            endpoint '{endpoint.split("://")[1]}', use_ssl {str(endpoint.startswith("https")).lower()})""")
    return con


def by_duckdb(table, columns, files):
    if not files:
        return []
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
    source = f"read_parquet([{names}], hive_partitioning = true)"
    return normal(connect_duckdb().execute(facts_sql("duckdb", source, *columns)).fetchall())


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


def wanted(columns):
    return ["dt", "pipeline", *(column for column in columns if column)]


def s3_options():
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP")
    return {name: os.environ[name] for name in names} if on_s3 else None


def by_polars(table, columns):
    frame = polars.read_delta(f"{lake}/{table}", storage_options=s3_options(), columns=wanted(columns))
    return by_frame(frame, *columns)


def by_deltalake(table, columns):
    delta = deltalake.DeltaTable(f"{lake}/{table}", storage_options=s3_options())
    return by_frame(polars.from_arrow(delta.to_pyarrow_table(columns=wanted(columns))), *columns)


def by_daft(table, columns):
    config = None
    if on_s3:
        config = daft.io.IOConfig(s3=daft.io.S3Config(
            endpoint_url=endpoint, region_name=os.environ["AWS_REGION"], key_id=os.environ["AWS_ACCESS_KEY_ID"],
            access_key=os.environ["AWS_SECRET_ACCESS_KEY"], force_virtual_addressing=False,
            use_ssl=endpoint.startswith("https")))
    frame = daft.read_deltalake(f"{lake}/{table}", io_config=config).select(*wanted(columns))
    return by_frame(polars.from_arrow(frame.to_arrow()), *columns)


def s3_system():
    scheme, address = endpoint.split("://")
    return pyarrow.fs.S3FileSystem(access_key=os.environ["AWS_ACCESS_KEY_ID"], scheme=scheme,
                                   secret_key=os.environ["AWS_SECRET_ACCESS_KEY"], endpoint_override=address,
                                   region=os.environ["AWS_REGION"])


def by_pyarrow(table, columns, files):
    if not files:
        return []
    system = pyarrow.fs.LocalFileSystem()
    if on_s3:
        system = s3_system()
        files = [name.removeprefix("s3://") for name in files]
    layout = pyarrow.dataset.partitioning(pyarrow.schema([("dt", pyarrow.date32()), ("pipeline", pyarrow.string())]),
                                          flavor="hive")
    data = pyarrow.dataset.dataset(files, filesystem=system, format="parquet", partitioning=layout)
    return by_frame(polars.from_arrow(data.to_table(columns=wanted(columns))), *columns)


def exported_files(table):
    """What the manifests of an export name."""
    if not on_s3:
        import pathlib
        folders = [found.parent for found in pathlib.Path(export, table).glob("*/*/_SUCCESS")]
        return [str(folder / part["name"]) for folder in folders
                for part in json.loads((folder / "_manifest.json").read_text())["files"]]
    system = s3_system()
    root = f"{export.removeprefix('s3://')}/{table}"
    found = system.get_file_info(pyarrow.fs.FileSelector(root, recursive=True, allow_not_found=True))
    folders = [info.path.rsplit("/", 1)[0] for info in found if info.base_name == "_SUCCESS"]
    files = []
    for folder in folders:
        with system.open_input_file(f"{folder}/_manifest.json") as manifest:
            files += [f"s3://{folder}/{part['name']}" for part in json.loads(manifest.read())["files"]]
    return files


def start_spark():
    from pyspark.sql import SparkSession
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.sql.session.timeZone", "UTC").config("spark.sql.shuffle.partitions", "1")
            .config("spark.driver.memory", "1g").config("spark.log.level", "ERROR").getOrCreate())


def by_spark(spark, table, columns):
    folder = f"{export}/{table}"
    if on_s3:
        folder = tempfile.mkdtemp(dir=brought.name)
        pyarrow.fs.copy_files(f"{export.removeprefix('s3://')}/{table}", folder, source_filesystem=s3_system(),
                              destination_filesystem=pyarrow.fs.LocalFileSystem())
    frame = spark.read.parquet(folder)
    frame.createOrReplaceTempView(table)
    return normal(spark.sql(facts_sql("spark", table, *columns)).collect())


spark = start_spark()
brought = tempfile.TemporaryDirectory()
for table, columns in TABLES.items():
    expected = by_huopan(table, columns)
    files, exported = lake_files(table), exported_files(table)
    if not expected or not files or not exported:
        sys.exit(f"{table}: there is nothing to read")
    readers = {
        "deltalake": lambda: by_deltalake(table, columns),
        "polars": lambda: by_polars(table, columns),
        "daft": lambda: by_daft(table, columns),
        "duckdb": lambda: by_duckdb(table, columns, files),
        "pyarrow": lambda: by_pyarrow(table, columns, files),
        "duckdb over the export": lambda: by_duckdb(table, columns, exported),
        "pyarrow over the export": lambda: by_pyarrow(table, columns, exported),
        "spark over the export": lambda: by_spark(spark, table, columns),
    }
    for reader, read in readers.items():
        found = read()
        if found != expected:
            print(f"{table}: {reader} reads {found}\n   huopan sql answers {expected}", file=sys.stderr)
            sys.exit(1)
    print(f"{table}: {sum(row[2] for row in expected)} rows in {len(expected)} partitions, "
          f"the same for huopan, {', '.join(readers)}")
print(f"{len(TABLES)} passed, 0 failed")
