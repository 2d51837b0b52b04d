"""Topics of tables are compacted, and nobody who asks for the table can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.engine.batch import Batch, Payload
from kalam_jupyter.ksql import Ksql

DAY = 86_400_000

STREAM = "CREATE STREAM s (k STRING KEY, v INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON', PARTITIONS=1"
TABLE = "CREATE TABLE t (k STRING PRIMARY KEY, v INT) WITH (KAFKA_TOPIC='t', FORMAT='JSON', PARTITIONS=1);"
WINDOW = "SELECT k, COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 10 SECONDS{}) GROUP BY k;"


@pytest.mark.parametrize(
    ("statement", "topic", "policy", "retention"),
    [
        (f"{STREAM});", "s", "delete", -1),
        (f"{STREAM}, RETENTION_MS=5000);", "s", "delete", 5_000),
        (f"{STREAM}, RETENTION_MS=-1);", "s", "delete", -1),
        (TABLE, "t", "compact", None),
        (f"{STREAM}); CREATE TABLE c AS SELECT k, COUNT(*) FROM s GROUP BY k;", "C", "compact", None),
        (f"{STREAM}); CREATE TABLE w AS {WINDOW.format('')}", "W", "compact,delete", -1),
        (f"{STREAM}, RETENTION_MS=5000); CREATE STREAM c AS SELECT * FROM s;", "C", "delete", 5_000),
        (
            f"{STREAM}, RETENTION_MS=5000); CREATE STREAM c WITH (RETENTION_MS=-1) AS SELECT * FROM s;",
            "C",
            "delete",
            -1,
        ),
        (
            f"{STREAM}, RETENTION_MS=5000); CREATE TABLE c AS SELECT k, COUNT(*) FROM s GROUP BY k;",
            "C",
            "compact",
            None,
        ),
        (
            f"{STREAM}, RETENTION_MS=5000); CREATE TABLE w AS {WINDOW.format(', RETENTION 9 DAYS')}",
            "W",
            "compact,delete",
            9 * DAY,
        ),
        (
            f"{STREAM}); CREATE TABLE w WITH (RETENTION_MS=5000) AS {WINDOW.format(', RETENTION 9 DAYS')}",
            "W",
            "compact,delete",
            9 * DAY,
        ),
    ],
)
def test_what_a_new_topic_keeps(statement: str, topic: str, policy: str, retention: int | None) -> None:
    with Engine.open() as engine:
        Ksql(engine).execute(statement)
        config = engine.topic(topic).config
        assert (config["cleanup_policy"], config.get("retention_ms")) == (policy, retention)


def start(engine: Engine) -> Ksql:
    ksql = Ksql(engine, {"ksql.streams.auto.offset.reset": "earliest"})
    engine.start()
    return ksql


def insert(ksql: Ksql, source: str, rows: list[tuple[str, int | None]]) -> None:
    ksql.insert_target(source).insert([{"K": k, "V": v} for k, v in rows])


def table(ksql: Ksql, sql: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in ksql.query(sql).table().to_pylist())


def test_queries_on_compacted_tables_give_what_they_gave(tmp_path: Path) -> None:
    """Running ones, new ones, pulls and pushes from the beginning; after a restart, too."""
    with Engine.open(tmp_path / "e") as engine:
        ksql = start(engine)
        ksql.execute(f"{STREAM}); CREATE TABLE c AS SELECT k, SUM(v) AS n FROM s GROUP BY k;")
        ksql.execute("CREATE TABLE by_n AS SELECT n, COUNT(*) AS keys FROM c GROUP BY n;")
        for i in range(6):
            insert(ksql, "s", [(f"k{j}", i * j % 3) for j in range(40)])
            assert engine.settle()
            engine.compact_topic("C")
            engine.compact_topic("BY_N")
        counts, by_n = table(ksql, "SELECT k, n FROM c;"), table(ksql, "SELECT n, keys FROM by_n;")
        assert len(counts) == 40 and sum(keys for _, keys in by_n) == 40
    with Engine.open(tmp_path / "e") as engine:
        ksql = start(engine)
        assert engine.compact_topic("C") > 0  # the checkpoint has what the reader needed
        assert engine.topic("C").num_records < 120
        ksql.execute("CREATE TABLE again AS SELECT n, COUNT(*) AS keys FROM c GROUP BY n;")
        assert engine.settle()
        assert table(ksql, "SELECT k, n FROM c;") == counts
        assert table(ksql, "SELECT n, keys FROM by_n;") == by_n
        again = table(ksql, "SELECT n, keys FROM again;")  # has no zeros for groups that it never saw
        assert [row for row in again if row[1]] == [row for row in by_n if row[1]]
        push = ksql.query("SELECT k, n FROM c EMIT CHANGES;")
        latest = {row.values[0]: row.values[1] for row in push.poll(10_000)}
        assert sorted(latest.items()) == counts
        push.close()


SOURCE_TABLE = "CREATE SOURCE TABLE r (k STRING PRIMARY KEY, v INT) WITH (KAFKA_TOPIC='t', FORMAT='JSON');"


def test_rows_deleted_long_ago_do_not_come_back_to_who_looks_late() -> None:
    with Engine.open(clock=Clock(1_000)) as engine:
        ksql = start(engine)
        ksql.execute(TABLE + SOURCE_TABLE)
        pad: list[tuple[str, int | None]] = [("pad", i) for i in range(40)]
        insert(ksql, "t", [("a", 1), ("b", 1), *pad])
        assert [k for k, _ in table(ksql, "SELECT * FROM r;")] == ["a", "b", "pad"]
        codec = ksql.codec(ksql.metastore.sources["T"])
        gone = Payload.from_rows(codec.schema, [("a",)] * 40, [None] * 40)
        engine.transact(lambda tx: tx.append("t", Batch([0] * 40, gone, codec)))
        engine.clock.advance(DAY + 1)
        insert(ksql, "t", pad)
        assert engine.compact_topic("t") > 0
        assert engine.topic("t").cleaned.purged
        assert [k for k, _ in table(ksql, "SELECT * FROM r;")] == ["b", "pad"]


def test_a_paused_source_table_keeps_the_rows_of_then() -> None:
    with Engine.open() as engine:
        ksql = start(engine)
        ksql.execute(TABLE + SOURCE_TABLE)
        insert(ksql, "t", [(f"k{j}", 1) for j in range(40)])
        (query,) = [q["id"] for q in ksql.execute("SHOW QUERIES;")[0]["queries"]]
        ksql.execute(f"PAUSE {query};")
        for i in range(3):
            insert(ksql, "t", [(f"k{j}", i) for j in range(40)])
        assert engine.compact_topic("t") == 0
        assert {v for _, v in table(ksql, "SELECT * FROM r;")} == {1}
        ksql.execute(f"RESUME {query};")
        assert engine.compact_topic("t") > 0
        assert {v for _, v in table(ksql, "SELECT * FROM r;")} == {2}
