"""Events a second through persistent queries: in memory, topic to topic, 10,000 keys, batches of 10,000.

``python -m tests.benchmarks.bench_ksql [--json] [NAME ...]``

An event counts when what it caused is in the sink's topic. Rates are by wall time and, beside it, by the
CPU time of the process, which a busy machine disturbs less. Peers do the same work in one call over the whole
input, in the same run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.batch import Batch, Columns, Payload, StoredBatch
from kalam_jupyter.engine.processor import StepContext
from kalam_jupyter.ksql import Ksql
from tests.benchmarks.report import Report, median_seconds

KEYS = 10_000
BATCH = 10_000
EVENTS = 3_000_000
BYTES_EVENTS = 300_000
ROWS = 20_000

STREAM = (
    "CREATE STREAM s (id BIGINT KEY, v DOUBLE, n BIGINT) "
    "WITH (kafka_topic='s', value_format='JSON', partitions=1);"
)
TABLE = (
    "CREATE TABLE names (id BIGINT PRIMARY KEY, name STRING, rate DOUBLE) "
    "WITH (kafka_topic='names', value_format='JSON', partitions=1);"
)
FILTER = "CREATE STREAM o AS SELECT id, v * 2 AS w, n + 1 AS m FROM s WHERE v > 0.5 EMIT CHANGES;"
RUNNING = (
    "CREATE TABLE o AS SELECT id, COUNT(*) AS c, SUM(n) AS total, AVG(v) AS mean FROM s "
    "GROUP BY id EMIT CHANGES;"
)
HAVING = RUNNING.replace(" EMIT", " HAVING COUNT(*) > 20 EMIT")
TUMBLING = (
    "CREATE TABLE o AS SELECT id, COUNT(*) AS c FROM s "
    "WINDOW TUMBLING (SIZE 1 MINUTE, GRACE PERIOD 1 MINUTE) GROUP BY id EMIT CHANGES;"
)
PARTITION_BY = "CREATE STREAM o AS SELECT n, id, v FROM s PARTITION BY n EMIT CHANGES;"
JOIN = "CREATE STREAM o AS SELECT s.id, v, name, rate FROM s LEFT JOIN names ON s.id = names.id EMIT CHANGES;"


@dataclass(frozen=True)
class Input:
    """The events: 10 ms apart, keys at random, so that a minute's window holds 6,000 of them."""

    ids: np.ndarray
    v: np.ndarray
    n: np.ndarray
    ts: np.ndarray

    @classmethod
    def of(cls, events: int) -> Input:
        random = np.random.default_rng(7)
        ids = random.integers(0, KEYS, events)
        v = random.random(events).round(6)
        return cls(ids, v, random.integers(0, 1000, events), np.arange(events) * 10 + 1_700_000_000_000)

    def slices(self, size: int) -> list[slice]:
        return [slice(i, i + size) for i in range(0, len(self.ids), size)]


def typed_batches(events: Input, ksql: Ksql) -> list[Batch]:
    """The events as Arrow columns."""
    codec = ksql.codec(ksql.metastore.get("S"))
    out = []
    for part in events.slices(BATCH):
        columns = Columns((pa.array(events.ids[part]),), (pa.array(events.v[part]), pa.array(events.n[part])))
        payload = Payload.from_columns(codec.schema, columns, len(events.ids[part]))
        out.append(Batch(events.ts[part], payload=payload, codec=codec))
    return out


def byte_batches(events: Input, size: int) -> list[Batch]:
    """The events as the bytes that a producer sends: a BIGINT key in the KAFKA format, a JSON value."""
    out = []
    for part in events.slices(size):
        keys = [int(i).to_bytes(8, "big") for i in events.ids[part]]
        rows = zip(events.v[part].tolist(), events.n[part].tolist(), strict=True)
        values = [orjson.dumps({"V": v, "N": n}) for v, n in rows]
        out.append(Batch(events.ts[part], raw=(keys, values)))
    return out


def encoded_batches(events: Input, ksql: Ksql) -> list[Batch]:
    """The events as bytes in the stream's own formats."""
    return [Batch(b.timestamps, raw=b.encoded()) for b in typed_batches(events, ksql)]


def open_query(statements: Sequence[str]) -> tuple[Engine, Ksql]:
    """An engine in memory with the statements run."""
    engine = Engine.open()
    ksql = Ksql(engine, {"ksql.streams.auto.offset.reset": "earliest"})
    engine.start()
    for statement in statements:
        ksql.execute(statement)
    return engine, ksql


def fill_table(engine: Engine, ksql: Ksql) -> None:
    """Nine keys in ten have a name; one name in ten is null."""
    codec = ksql.codec(ksql.metastore.get("NAMES"))
    ids = np.array([i for i in range(KEYS) if i % 10 != 9])
    names = pa.array([None if i % 10 == 3 else f"name-{i}" for i in ids.tolist()])
    columns = Columns((pa.array(ids),), (names, pa.array(ids / 7)))
    batch = Batch(
        np.zeros(len(ids), dtype=np.int64), Payload.from_columns(codec.schema, columns, len(ids)), codec
    )
    engine.transact(lambda tx: tx.append("names", batch))
    engine.settle(60)


@dataclass(frozen=True)
class Run:
    """Seconds for all batches, and how many records came out."""

    wall: float
    cpu: float
    out: int


def run(
    statements: Sequence[str],
    make: Callable[[Ksql], Sequence[Batch]],
    prepare: Callable[[Engine, Ksql], None] | None = None,
    *,
    settle_each: bool = False,
) -> Run:
    """Feed batches to a fresh engine and wait until the sink holds what they caused."""
    engine, ksql = open_query(statements)
    try:
        if prepare is not None:
            prepare(engine, ksql)
        batches = make(ksql)
        wall, cpu = time.perf_counter(), time.process_time()
        for batch in batches:
            engine.transact(lambda tx, batch=batch: tx.append("s", batch))
            if settle_each:
                engine.settle(60)
        assert engine.settle(120)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Run(wall, cpu, engine.topic("O").end_sequence)
    finally:
        engine.close()


def best(repeat: int, once: Callable[[], Run]) -> Run:
    """The run that the rest of the machine disturbed least."""
    return min((once() for _ in range(repeat)), key=lambda r: r.cpu)


def pandas_running(events: Input) -> Callable[[], object]:
    frame = pd.DataFrame({"id": events.ids, "v": events.v, "n": events.n})

    def once() -> object:
        groups = frame.groupby("id")
        count = groups.cumcount() + 1
        return count, groups["n"].cumsum(), groups["v"].cumsum() / count

    return once


def pandas_tumbling(events: Input) -> Callable[[], object]:
    frame = pd.DataFrame({"id": events.ids, "window": events.ts // 60_000})
    return lambda: frame.groupby(["id", "window"]).cumcount() + 1


def pandas_join(events: Input) -> Callable[[], object]:
    frame = pd.DataFrame({"id": events.ids, "v": events.v})
    names = pd.DataFrame({"id": np.arange(KEYS), "name": "name", "rate": 1.0})
    return lambda: frame.merge(names, on="id", how="left")


def arrow_filter(events: Input) -> Callable[[], object]:
    v, n = pa.array(events.v), pa.array(events.n)

    def once() -> object:
        mask = pc.greater(v, 0.5)
        return pc.multiply(v.filter(mask), 2.0), pc.add(n.filter(mask), 1)

    return once


def json_parse(batches: Sequence[Batch]) -> Callable[[], object]:
    """Orjson, a line at a time: what a hand-written consumer does before anything else."""
    values = [v for b in batches for v in b.encoded()[1]]
    return lambda: [orjson.loads(v) for v in values]


def measure(
    report: Report, name: str, goal: float, events: int, found: Run, peer: tuple[str, Callable[[], object]]
) -> None:
    rate = events / found.wall
    note = f"{events / found.cpu / 1e6:.2f} M by CPU time; {found.out:,} out"
    report.add(name, rate, "events/s", f">= {goal:,.0f}", rate >= goal, note)
    seconds = median_seconds(peer[1], 3)
    report.add(f"  time over that of {peer[0]}", found.wall / seconds, "x")


def columns_cases(report: Report, wanted: Callable[[str], bool]) -> None:
    events = Input.of(EVENTS)

    def typed(ksql: Ksql) -> list[Batch]:
        return typed_batches(events, ksql)

    cases = (
        ("filter and project", 3e6, FILTER, ("pyarrow, one shot", arrow_filter(events))),
        ("PARTITION BY", 3e6, PARTITION_BY, ("pyarrow, one shot", arrow_filter(events))),
        ("running COUNT, SUM, AVG", 2e6, RUNNING, ("pandas, one shot", pandas_running(events))),
        ("running aggregates with HAVING", 5e5, HAVING, ("pandas, one shot", pandas_running(events))),
        ("tumbling COUNT", 2e6, TUMBLING, ("pandas, one shot", pandas_tumbling(events))),
    )
    for name, goal, text, peer in cases:
        if wanted(name):
            found = best(3, lambda text=text: run([STREAM, text], typed))  # type: ignore[misc]
            measure(report, name, goal, EVENTS, found, peer)
    if wanted("stream-table join"):
        found = best(3, lambda: run([STREAM, TABLE, JOIN], typed, fill_table))
        peer = ("pandas merge, one shot", pandas_join(events))
        measure(report, "stream-table join", 1e6, EVENTS, found, peer)


def bytes_cases(report: Report, wanted: Callable[[str], bool]) -> None:
    events = Input.of(BYTES_EVENTS)
    batches = byte_batches(events, BATCH)
    peer = ("orjson.loads alone", json_parse(batches))
    cases = (("filter from NDJSON bytes", FILTER), ("running aggregate from NDJSON bytes", RUNNING))
    for name, text in cases:
        if wanted(name):
            # New batches every time: a batch remembers what it was decoded to.
            found = best(3, lambda text=text: run([STREAM, text], lambda _: byte_batches(events, BATCH)))  # type: ignore[misc]
            measure(report, name, 1e6, BYTES_EVENTS, found, peer)
    for format_ in ("DELIMITED", "AVRO"):
        name = f"filter from {format_} bytes"
        if wanted(name):
            stream = STREAM.replace("JSON", format_)
            found = best(3, lambda stream=stream: run([stream, FILTER], lambda k: encoded_batches(events, k)))  # type: ignore[misc]
            note = f"{BYTES_EVENTS / found.cpu / 1e6:.2f} M by CPU time; {found.out:,} out"
            report.add(name, BYTES_EVENTS / found.wall, "events/s", note=note)


def row_cases(report: Report, wanted: Callable[[str], bool]) -> None:
    events = Input.of(ROWS)

    def rows(ksql: Ksql) -> list[Batch]:
        codec = ksql.codec(ksql.metastore.get("S"))
        columns = (events.ids, events.v, events.n, events.ts)
        return [
            Batch([ts], payload=Payload.from_rows(codec.schema, [(i,)], [(v, n)]), codec=codec)
            for i, v, n, ts in zip(*(c.tolist() for c in columns), strict=True)
        ]

    for name, text in (("filter", FILTER), ("running", RUNNING), ("tumbling", TUMBLING)):
        title = f"row form, one record a batch, {name}"
        if wanted(title):
            seconds = min(row_form_seconds([STREAM, text], rows) for _ in range(5)) / ROWS
            report.add(
                title, seconds * 1e6, "us/record", "< 20", seconds < 20e-6, "CPU time of the query's step"
            )
    for title, each in (
        ("20,000 transactions of one record, then settle", False),
        ("one record and its answer: append, settle", True),
    ):
        if wanted(title):
            found = best(3, lambda each=each: run([STREAM, RUNNING], rows, settle_each=each))  # type: ignore[misc]
            note = f"CPU {found.cpu / ROWS * 1e6:.1f} us"
            report.add(title, found.wall / ROWS * 1e6, "us/record", note=note)


def row_form_seconds(statements: Sequence[str], make: Callable[[Ksql], Sequence[Batch]]) -> float:
    """CPU seconds of the query alone: from a stored batch to what goes to the sink."""
    engine, ksql = open_query(statements)
    try:
        (query,) = ksql.running.values()
        batches = [StoredBatch(batch, i, i, i) for i, batch in enumerate(make(ksql))]
        context = StepContext(now_ms=0, seed=1, position=1)
        start = time.process_time()
        for batch in batches:
            query.process("s", batch, context)
        return time.process_time() - start
    finally:
        engine.close()


def main() -> int:
    names = [a for a in sys.argv[1:] if not a.startswith("--")]

    def wanted(name: str) -> bool:
        return not names or any(n in name for n in names)

    report = Report("ksql")
    columns_cases(report, wanted)
    bytes_cases(report, wanted)
    row_cases(report, wanted)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
