"""Writes the rows of a Parquet file in another order: far out of time order, rows of the same time in their old order.

Argument: a JSON object with `from`, `to`, `time` (column), `rows_per_group`. Prints how many neighbours go back in time.
"""

import json
import random
import sys

import pyarrow.parquet

task = json.loads(sys.argv[1])
table = pyarrow.parquet.read_table(task["from"])
times = table[task["time"]].cast("int64").to_pylist()
places = list(range(len(times)))
random.Random(2013).shuffle(places)
# Each time keeps the set of places chance gave it and fills them in its old order.
slots = {}
for place, time in zip(places, times):
    slots.setdefault(time, []).append(place)
slots = {time: iter(sorted(taken)) for time, taken in slots.items()}
order = [0] * len(times)
for row, time in enumerate(times):
    order[next(slots[time])] = row
table = table.take(order).combine_chunks()
pyarrow.parquet.write_table(table, task["to"], row_group_size=task["rows_per_group"], compression="zstd")
after = [times[row] for row in order]
print(json.dumps({"back": sum(a > b for a, b in zip(after, after[1:]))}))
