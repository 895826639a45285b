#!/usr/bin/env python3
"""The tables' contracts hold for an exported day, says a tool that nobody here wrote.

usage: contracts.py SCHEMAS EXPORT        (with the Python of a venv that has tests/contracts-requirements.txt)

Runs `datacontract lint` and `datacontract test` (PyPI: datacontract-cli) for every contract in SCHEMAS over the Parquet
files below EXPORT (`huopan lake export`): columns, nulls, keys, allowed values. It does not look at types in Parquet files
yet, so DuckDB is asked for those. A table without files in EXPORT is only linted, and said so. Exits 1 if a check fails,
or if no table had files.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import duckdb
import yaml

schemas, export = map(pathlib.Path, sys.argv[1:3])
datacontract = pathlib.Path(sys.executable).with_name("datacontract")

# Delta's types, as the contracts name them, in the words of DuckDB; the tool does not know some of Delta's.
TYPES = {"string": "VARCHAR", "binary": "BLOB", "boolean": "BOOLEAN", "byte": "TINYINT", "short": "SMALLINT",
         "integer": "INTEGER", "long": "BIGINT", "date": "DATE", "timestamp": "TIMESTAMP WITH TIME ZONE",
         "array<string>": "VARCHAR[]"}
TRANSLATED = {"byte": "tinyint", "short": "smallint", "array<string>": "array"}


def run(*arguments):
    return subprocess.run([datacontract, *arguments], capture_output=True, text=True)


def fail(table, reason):
    sys.exit(f"{table}: the contract does not hold\n{reason}")


def check_types(table, contract, glob):
    found = duckdb.sql(f"describe select * from read_parquet('{glob}', hive_partitioning = true)").fetchall()
    found = {row[0]: row[1] for row in found}
    stated = {column["name"]: column["physicalType"] for column in contract["schema"][0]["properties"]}
    stated = {name: TYPES.get(kind, kind.upper()) for name, kind in stated.items()}
    if found != stated:
        fail(table, f"types: {sorted(set(found.items()) ^ set(stated.items()))}")
    return len(found)


def check_key(table, contract, glob):
    """A key with a column that may be null (null is a value of it then) is no primary key to the tool."""
    key = [column["name"] for column in contract["schema"][0]["properties"] if column.get("primaryKey")]
    if not key:
        return False
    twice = duckdb.sql(f"select {', '.join(key)} from read_parquet('{glob}', hive_partitioning = true) "
                       "group by all having count(*) > 1 limit 3").fetchall()
    if twice:
        fail(table, f"its key ({', '.join(key)}) is there more than once: {twice}")
    return any(column.get("primaryKey") and not column["required"] for column in contract["schema"][0]["properties"])


def check_rows(table, text, glob, folder, key_may_be_null):
    """The contract as it is shipped, and where the data are: the directory names give dt and pipeline."""
    if key_may_be_null:
        text = re.sub(r"\n *primaryKey(Position)?: .*", "", text)
    text = re.sub(r"physicalType: (\S+)", lambda kind: f"physicalType: {TRANSLATED.get(kind[1], kind[1])}", text)
    server = f"\nservers:\n  - server: exported\n    type: local\n    format: parquet\n    path: {json.dumps(glob)}\n"
    copy, result = pathlib.Path(folder, f"{table}.yaml"), pathlib.Path(folder, f"{table}.json")
    copy.write_text(text + server)
    ended = run("test", "--server", "exported", "--output-format", "json", "--output", str(result), str(copy))
    checks = json.loads(result.read_text())["checks"] if result.exists() else []
    checks = [check for check in checks if check["type"] != "field_type"]
    other = [f"{check['name']}: {check['result']} {check['reason']}" for check in checks if check["result"] != "passed"]
    if ended.returncode != 0 or not checks or other:
        fail(table, "\n".join(other) or ended.stdout + ended.stderr)
    return len(checks)


tested = 0
with tempfile.TemporaryDirectory() as folder:
    for path in sorted(schemas.glob("*.yaml")):
        table, text = path.stem, path.read_text()
        linted = run("lint", str(path))
        if linted.returncode != 0:
            fail(table, linted.stdout + linted.stderr)
        if not any((export / table).glob("*/*/*.parquet")):
            print(f"{table}: a valid contract; no rows to hold against it")
            continue
        glob = f"{export.resolve()}/{table}/*/*/*.parquet"
        contract = yaml.safe_load(text)
        types = check_types(table, contract, glob)
        rows = check_rows(table, text, glob, folder, check_key(table, contract, glob))
        print(f"{table}: {rows} checks and {types} types hold")
        tested += 1
if tested == 0:
    sys.exit(f"`{export}` has no tables")
