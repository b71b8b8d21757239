"""Reads exported files with DuckDB and with Python's own readers and compares them, row by row, with the Parquet.

Argument: a JSON object with `parquet`, `files` (in order), `format` (csv, json, ndjson), `codec` (null, gzip, zstd),
`columns` and `where` (SQL). Rows are expected in the order `order` (SQL; `file_row_number` breaks ties).
Prints what was seen: rows, nulls and sums of each column. Exits with 1 at the first difference.
"""

import csv
import datetime
import decimal
import io
import json
import struct
import sys
import zlib

import duckdb
import pyarrow

task = json.loads(sys.argv[1])
columns, kind, codec = task["columns"], task["format"], task["codec"]
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def fail(what):
    sys.exit(f"{task['files']}: {what}")


source = f"read_parquet({quoted(task['parquet'])}, file_row_number = true)"
types = {name: kind for name, kind, *_ in db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
wanted = f"FROM {source} WHERE {task['where']}"
times = {name for name in columns if types[name].startswith("TIMESTAMP")}
numbers = [name for name in columns if types[name] in ("BIGINT", "INTEGER", "SMALLINT", "DOUBLE")]

# DuckDB reads the files by itself, compression included.
names = "[" + ", ".join(map(quoted, task["files"])) + "]"
kinds = "{" + ", ".join(f"{quoted(n)}: {quoted(types[n])}" for n in columns) + "}"
if kind == "csv":
    read = (f"read_csv({names}, auto_detect = false, header = true, columns = {kinds}, delim = ',', quote = '\"', "
            "escape = '\"', nullstr = '', allow_quoted_nulls = false, new_line = '\\r\\n')")
else:
    layout = "array" if kind == "json" else "newline_delimited"
    read = f"read_json({names}, format = '{layout}', columns = {kinds}, maximum_object_size = 100000000)"
picked = ", ".join(f'"{n}"' for n in columns)
for a, b in [(f"FROM {read}", wanted), (wanted, f"FROM {read}")]:
    over = db.execute(f"SELECT count(*) FROM (SELECT {picked} {a} EXCEPT ALL SELECT {picked} {b})").fetchone()[0]
    if over:
        fail(f"DuckDB finds {over} rows of one side that the other lacks")
looks = ["count(*)"] + [f'sum("{n}")' for n in numbers] + [f'count(*) - count("{n}")' for n in columns]
here, there = (db.execute(f"SELECT {', '.join(looks)} {rows}").fetchone() for rows in (f"FROM {read}", wanted))
if here[0] != there[0] or here[1 + len(numbers):] != there[1 + len(numbers):]:
    fail(f"DuckDB counts {here}, in the Parquet there are {there}")

# Python's own readers, in order and to the last bit.
def content(path):
    with open(path, "rb") as file:
        raw = file.read()
    if codec == "gzip":
        one = zlib.decompressobj(31)
        text = one.decompress(raw) + one.flush()
        if not one.eof or one.unused_data:
            fail("it is not exactly one gzip member")
        return text
    if codec == "zstd":
        return pyarrow.input_stream(io.BytesIO(raw), compression="zstd").read()
    return raw


def rows():
    for path in task["files"]:
        text = content(path).decode("utf-8")
        if kind == "csv":
            reader = csv.reader(io.StringIO(text, newline=""), strict=True)
            if next(reader) != columns:
                fail("the header is another")
            yield from reader
        else:
            items = json.loads(text) if kind == "json" else map(json.loads, text.splitlines())
            for item in items:
                if list(item) != columns:
                    fail(f"members are {list(item)}")
                yield list(item.values())


def micros(text):
    at = datetime.datetime.fromisoformat(text)
    if at.utcoffset() is None:
        fail(f"{text} has no offset")
    return (at - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


def same(name, got, want):
    type_ = types[name]
    if want is None:
        return got == "" if kind == "csv" else got is None
    if name in times:
        return micros(got) == want
    if type_ == "DOUBLE":
        return struct.pack("<d", float(got)) == struct.pack("<d", want)
    if type_.startswith("DECIMAL"):
        return isinstance(got, str) and decimal.Decimal(got) == want and got == format(want, "f")
    if name in numbers:
        return got == str(want) if kind == "csv" else type(got) is int and got == want
    return got == want


exact = ", ".join(f'epoch_us("{n}")' if n in times else f'"{n}"' for n in columns)
cursor = db.execute(f"SELECT {exact} {wanted} ORDER BY {task['order']}, file_row_number")
count, nulls = 0, dict.fromkeys(columns, 0)
got_rows = rows()
while batch := cursor.fetchmany(10_000):
    for want in batch:
        got = next(got_rows, None)
        if got is None or len(got) != len(columns):
            fail(f"row {count} is {got}, expected {want}")
        for name, value, expected in zip(columns, got, want):
            if not same(name, value, expected):
                fail(f"row {count}, {name}: {value!r}, expected {expected!r}")
            nulls[name] += expected is None
        count += 1
if next(got_rows, None) is not None:
    fail(f"there are more than {count} rows")
if count != here[0]:
    fail(f"DuckDB reads {here[0]} rows, Python {count}")
sums = {n: float(v or 0) for n, v in zip(numbers, there[1:])}
print(json.dumps({"rows": count, "nulls": nulls, "sums": sums}))
