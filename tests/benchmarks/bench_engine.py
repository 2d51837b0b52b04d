"""What the engine costs, beside its peers in the same run.

``python -m tests.benchmarks.bench_engine [--json] [NAME ...]``
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.batch import Batch, Columns, Payload
from kalam_jupyter.engine.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, STRING, TIMESTAMP, Column, Schema

MILLION = 1_000_000
#: SQLite's own log grows for a thousand commits, which take twice as long; ours has its size from the start.
WARM = 1_100
WIDE = Schema.of(
    [
        Column("id", BIGINT, key=True),
        Column("name", STRING),
        Column("city", STRING),
        Column("amount", DOUBLE),
        Column("rate", DOUBLE),
        Column("count", INTEGER),
        Column("active", BOOLEAN),
        Column("at", TIMESTAMP),
    ]
)


@dataclass(frozen=True)
class Figure:
    """One measured figure: `value` in `unit`, what it should be, and whether it is."""

    name: str
    value: float
    unit: str
    goal: str
    met: bool | None


def wide_table(n: int = MILLION) -> pa.Table:
    """`n` rows of eight columns, keys unique."""
    i = np.arange(n)
    names = pa.array(np.char.add("user-", (i % 50_000).astype(str)))
    cities = pa.array(["Oslo", "Rome", "Lima", "Cairo"]).take(pa.array(i % 4))
    columns = [i, names, cities, i / 3, i / 7, (i % 1000).astype(np.int32), i % 2 == 0, i]
    return pa.table(
        [pa.array(c).cast(f.type) for c, f in zip(columns, WIDE.arrow, strict=True)], schema=WIDE.arrow
    )


def median_seconds(function: Callable[[], object], repeat: int) -> float:
    """Median time of one call."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def single_row_writes() -> list[Figure]:
    """One row a commit: a bare SQLite insert, and a transaction of ours, turn by turn."""
    with tempfile.TemporaryDirectory(dir=".") as directory:
        db = sqlite3.connect(Path(directory) / "bare.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, amount REAL)")
        schema = Schema.of([Column("id", BIGINT, key=True), Column("name", STRING), Column("amount", DOUBLE)])
        bare, ours = [], []
        pa.array([1])  # pyarrow imports pandas at the first array, which is not what is measured
        with Engine.open(Path(directory) / "engine") as engine:
            engine.transact(lambda tx: tx.create_relation("t", schema))
            for i in range(3_000):
                start = time.perf_counter()
                db.execute("INSERT INTO t VALUES (?, ?, ?)", (i, "name", 1.5))
                middle = time.perf_counter()
                engine.transact(lambda tx, i=i: tx.insert("t", [(i, "name", 1.5)]))
                if i >= WARM:
                    bare.append(middle - start)
                    ours.append(time.perf_counter() - middle)
            many = [_writes_of_threads(engine, round_) for round_ in range(3)]
        db.close()
    ratio = statistics.median(bare) / statistics.median(ours)
    together = statistics.median(many) * statistics.median(bare)
    return [
        Figure("single-row durable writes / bare SQLite WAL FULL", ratio, "x", ">= 0.7", ratio >= 0.7),
        Figure("  a write", statistics.median(ours) * 1e6, "us", "", None),
        Figure("8 threads writing single rows / bare SQLite", together, "x", ">= 0.7", together >= 0.7),
    ]


def _writes_of_threads(engine: Engine, round_: int) -> float:
    """Rows a second of eight threads that each wait for their own commits."""
    count = 100

    def write(thread: int) -> None:
        first = 10_000 + (round_ * 8 + thread) * count
        for i in range(first, first + count):
            engine.transact(lambda tx, i=i: tx.insert("t", [(i, "name", 1.5)]))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 8 * count / (time.perf_counter() - start)


def bulk_appends() -> list[Figure]:
    """A million rows of Arrow into a relation, with and without a key, and into a topic."""
    table = wide_table()
    keyless = Schema.of([Column(c.name, c.type) for c in WIDE.columns])
    figures = []
    for name, schema in (("with key index", WIDE), ("without key", keyless)):

        def insert(schema: Schema = schema) -> float:
            with Engine.open() as engine:
                engine.transact(lambda tx: tx.create_relation("t", schema))
                start = time.perf_counter()
                engine.transact(lambda tx: tx.insert("t", table.cast(schema.arrow)))
                return time.perf_counter() - start

        rate = 1 / statistics.median([insert() for _ in range(3)])
        figures.append(Figure(f"bulk append to a relation {name}", rate, "M rows/s", ">= 3", rate >= 3))
    batches = table.to_batches(max_chunksize=10_000)

    def append() -> float:
        with Engine.open() as engine:
            engine.transact(lambda tx: tx.create_topic("t"))
            start = time.perf_counter()
            for batch in batches:
                columns = Columns((batch.column(0),), tuple(batch.columns[1:]))
                payload = Payload.from_columns(WIDE, columns, batch.num_rows)
                stamps = np.zeros(batch.num_rows, dtype=np.int64)
                engine.transact(lambda tx, s=stamps, p=payload: tx.append("t", Batch(s, p, None)))
            return time.perf_counter() - start

    rate = 1 / statistics.median([append() for _ in range(3)])
    return [*figures, Figure("append to a topic, 10k batches", rate, "M rows/s", ">= 3", rate >= 3)]


def update_and_snapshot() -> list[Figure]:
    """One random row updated, then a snapshot as Arrow batches, of a million rows."""
    table = wide_table()
    rows = iter(np.random.default_rng(1).integers(0, MILLION, 10_000).tolist())
    with Engine.open() as engine:
        engine.transact(lambda tx: (tx.create_relation("t", WIDE), tx.insert("t", table)))
        relation = engine.relation("t")

        def update() -> None:
            row = (next(rows), "new", "Oslo", 1.0, 2.0, 3, True, 4)
            engine.transact(lambda tx: tx.upsert("t", [row]))
            relation.snapshot().batches()

        update()
        took = median_seconds(update, 500) * 1e3
        get = median_seconds(lambda: relation.get((next(rows),)), 2_000) * 1e6
    return [
        Figure("update plus snapshot, 1M rows x 8", took, "ms", "< 1", took < 1),
        Figure("  get by key", get, "us", "", None),
    ]


def frame_view() -> list[Figure]:
    """The pandas view of a million rows of five columns."""
    schema = Schema.of([Column(c.name, c.type) for c in WIDE.columns[:5]])
    table = wide_table().select(list(schema.names)).cast(schema.arrow)
    with Engine.open() as engine:
        engine.transact(lambda tx: (tx.create_relation("t", schema), tx.insert("t", table)))
        relation = engine.relation("t")
        relation.snapshot().frame()  # pandas itself is imported now
        took = median_seconds(lambda: relation.snapshot().frame(), 100) * 1e3

        def after_insert() -> None:
            engine.transact(lambda tx: tx.insert("t", [(1, "a", "b", 1.0, 2.0)]))
            relation.snapshot().frame()

        fresh = median_seconds(after_insert, 100) * 1e3
    return [
        Figure("pandas view, 1M rows x 5", took, "ms", "< 1", took < 1),
        Figure("  right after an insert", fresh, "ms", "", None),
    ]


_MEMORY = """
import gc, sys
from tests.benchmarks.bench_engine import WIDE, resident_mb, wide_table
from kalam_jupyter.engine import Engine
engine = Engine.open()
engine.transact(lambda tx: tx.create_relation("t", WIDE))
engine.transact(lambda tx: tx.insert("t", wide_table(1000).slice(0, 500)))
engine.transact(lambda tx: tx.delete("t", [(i,) for i in range(500)]))
before = resident_mb()
table = wide_table()
engine.transact(lambda tx: tx.insert("t", table))
del table
gc.collect()
assert engine.relation("t").get((999_999,)) is not None
print(resident_mb() - before)
"""


def resident_mb() -> float:
    """Resident memory of this process, MB."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory() -> list[Figure]:
    """What a million rows of eight columns and their key index take, in a process of their own."""
    out = subprocess.run([sys.executable, "-c", _MEMORY], capture_output=True, text=True, check=True)
    took = float(out.stdout)
    return [Figure("memory of 1M rows x 8 with key index", took, "MB", "< 350", took < 350)]


def opening() -> list[Figure]:
    """Opening a path with a million checkpointed rows, and the first lookup by key."""
    with tempfile.TemporaryDirectory(dir=".") as directory:
        with Engine.open(directory) as engine:
            engine.transact(lambda tx: (tx.create_relation("t", WIDE), tx.insert("t", wide_table())))
        gc.collect()
        start = time.perf_counter()
        engine = Engine.open(directory)
        opened = time.perf_counter() - start
        assert engine.relation("t").get((MILLION - 1,)) is not None
        looked = time.perf_counter() - start
        engine.close()
    return [
        Figure("opening 1M checkpointed rows", opened, "s", "< 1", opened < 1),
        Figure("  and the first lookup by key", looked, "s", "< 1", looked < 1),
    ]


_TABLE = """
import gc, json, sys, time
from pathlib import Path
import numpy as np
import pyarrow as pa
from tests.benchmarks.bench_engine import KEYED, MILLION, resident_mb
from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.batch import Batch, Columns, Payload
policy, directory = sys.argv[1:]
with Engine.open(directory) as engine:
    engine.transact(lambda tx: tx.create_topic("t", 1, {"cleanup_policy": policy}))
    engine.start()
    before, began = resident_mb(), time.process_time()
    for start in range(0, 4 * MILLION, 1_000):
        i = np.arange(start, start + 1_000)
        columns = Columns((pa.array(i * 7 % 1_000),), (pa.array(i), pa.array([f"{n:0100}" for n in i])))
        payload = Payload.from_columns(KEYED, columns, len(i))
        engine.transact(lambda tx: tx.append("t", Batch(i, payload, CODEC)))
    took = time.process_time() - began
    gc.collect()
    records, grown = engine.topic("t").num_records, resident_mb() - before
disk = sum(p.stat().st_size for p in Path(directory, "data").iterdir())
print(json.dumps([took, grown, disk / 1e6, records]))
""".replace("CODEC", "BenchCodec()").replace("KEYED, MILLION", "KEYED, MILLION, BenchCodec")
KEYED = Schema.of([Column("k", BIGINT, key=True), Column("n", BIGINT), Column("text", STRING)])


@dataclass(frozen=True)
class BenchCodec:
    """A codec that nobody asks for bytes."""

    schema: Schema = KEYED
    lossless: bool = True

    def descriptor(self) -> dict[str, str]:
        """Name it."""
        return {"codec": "bench"}


def compaction() -> list[Figure]:
    """Four million updates of a thousand keys: a topic that keeps everything, and a compacted one."""
    kept, compacted = [], []
    for _ in range(3):
        for policy, found in (("delete", kept), ("compact", compacted)):
            with tempfile.TemporaryDirectory(dir=".") as directory:
                command = [sys.executable, "-c", _TABLE, policy, directory]
                out = subprocess.run(command, capture_output=True, text=True, check=True)
                found.append(json.loads(out.stdout))
    (cpu, memory_mb, disk, _), (cpu_2, memory_2, disk_2, records) = (
        [min(one[i] for one in found) for i in range(4)] for found in (kept, compacted)
    )
    ratio, less = cpu / cpu_2, memory_2 / memory_mb
    return [
        Figure("4M updates of 1,000 keys: records that stay", records, "", "<= 1.1 M", records <= 1.1e6),
        Figure("  on disk / keeping everything", disk_2 / disk, "x", "< 0.35", disk_2 / disk < 0.35),
        Figure("  resident memory / keeping everything", less, "x", "< 0.5", less < 0.5),
        Figure("  appends a CPU second / keeping everything", ratio, "x", ">= 0.7", ratio >= 0.7),
    ]


BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "writes": single_row_writes,
    "bulk": bulk_appends,
    "update": update_and_snapshot,
    "frame": frame_view,
    "memory": memory,
    "open": opening,
    "compaction": compaction,
}


def main() -> None:
    """Run the named benchmarks, or all, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    options = parser.parse_args()
    figures = [f for name in options.names or BENCHMARKS for f in BENCHMARKS[name]()]
    if options.json:
        print(json.dumps([asdict(f) for f in figures]))
        return
    for f in figures:
        verdict = {True: "met", False: "MISSED", None: ""}[f.met]
        print(f"{f.name:<52}{f.value:>10.3g} {f.unit:<9} {f.goal:<7} {verdict}")


if __name__ == "__main__":
    main()
