"""Two forms, one meaning: what the column form emits is what the row form emits, to the last bit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.batch import Batch, Payload, StoredBatch
from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.runtime import reader, topology
from kalam_jupyter.ksql.runtime.persistent import PersistentQuery

STREAM = (
    "CREATE STREAM s (k STRING KEY, i INT, b BIGINT, d DOUBLE, t STRING, f BOOLEAN) "
    "WITH (kafka_topic='s', value_format='JSON', partitions=1);"
    "CREATE STREAM e (k STRING KEY, i INT, b BIGINT, d DOUBLE, t STRING, f BOOLEAN) "
    "WITH (kafka_topic='s', value_format='JSON', timestamp='b');"
    "CREATE TABLE u (k STRING PRIMARY KEY, n STRING, w DOUBLE) "
    "WITH (kafka_topic='u', value_format='JSON', partitions=1);"
    "CREATE TABLE un (k BIGINT PRIMARY KEY, n STRING, w DOUBLE) "
    "WITH (kafka_topic='un', value_format='JSON', partitions=1);"
)
QUERIES = {
    "filter": "CREATE STREAM o AS SELECT k, i + 1 AS a, d, t FROM s WHERE d > 1.5 AND NOT (t = 'x') AND i "
    "IN (1, 2);",
    "null tests": "CREATE STREAM o AS SELECT k, b, f FROM s WHERE t IS NULL OR b <> 3 OR d = i;",
    "partition by": "CREATE STREAM o AS SELECT t, i, k, d FROM s WHERE i > 0 PARTITION BY t;",
    "partition by two": "CREATE STREAM o WITH (key_format='JSON') AS SELECT i + 1 AS x, t, d, k FROM s "
    "PARTITION BY i + 1, t;",
    "partition by null": "CREATE STREAM o AS SELECT k, i, rowtime AS r FROM s PARTITION BY NULL;",
    "arithmetic": "CREATE STREAM o AS SELECT k, b * 2 - i AS x, d + b AS y FROM s;",
    "running": (
        "CREATE TABLE o AS SELECT t, COUNT(*) AS c, COUNT(d) AS cd, SUM(i) AS si, SUM(b) AS sb, SUM(d) AS "
        "sd, "
        "AVG(d) AS ad, AVG(i) AS ai, AVG(b) AS ab FROM s GROUP BY t;"
    ),
    "extremes": (
        "CREATE TABLE o AS SELECT t, MIN(i) AS a, MAX(b) AS b, MIN(d) AS c, MAX(d) AS d, MAX(k) AS e "
        "FROM s GROUP BY t;"
    ),
    "two keys": "CREATE TABLE o WITH (key_format='JSON') AS SELECT t, f, SUM(d) AS x FROM s GROUP BY t, f;",
    "by a number": "CREATE TABLE o AS SELECT b, COUNT(*) AS c, AVG(i) AS x FROM s GROUP BY b;",
    "hopping by a number": (
        "CREATE TABLE o AS SELECT i, COUNT(*) AS c, MIN(d) AS x FROM s "
        "WINDOW HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 5 MILLISECONDS, GRACE PERIOD 2 MILLISECONDS) "
        "GROUP BY i;"
    ),
    "having": "CREATE TABLE o AS SELECT t, COUNT(*) AS c FROM s GROUP BY t HAVING COUNT(*) > 2;",
    "having, for a while": "CREATE TABLE o AS SELECT t, SUM(b) AS x FROM s GROUP BY t HAVING SUM(b) > 0;",
    "having in windows": (
        "CREATE TABLE o AS SELECT i, COUNT(*) AS c, MIN(d) AS m FROM s "
        "WINDOW TUMBLING (SIZE 10 MILLISECONDS) GROUP BY i HAVING COUNT(*) > 1 AND MIN(d) > 0.15;"
    ),
    "tumbling": (
        "CREATE TABLE o AS SELECT t, COUNT(*) AS c, SUM(d) AS x, WINDOWSTART AS ws FROM s "
        "WINDOW TUMBLING (SIZE 10 MILLISECONDS, GRACE PERIOD 15 MILLISECONDS) GROUP BY t;"
    ),
    "event time from a column": (
        "CREATE TABLE o AS SELECT t, COUNT(*) AS c, MAX(i) AS x FROM e "
        "WINDOW TUMBLING (SIZE 2 MILLISECONDS, GRACE PERIOD 1 MILLISECONDS) GROUP BY t;"
    ),
    "hopping": (
        "CREATE TABLE o AS SELECT t, COUNT(*) AS c, AVG(b) AS x FROM s "
        "WINDOW HOPPING (SIZE 10 MILLISECONDS, ADVANCE BY 4 MILLISECONDS, GRACE PERIOD 9 MILLISECONDS) "
        "GROUP BY t;"
    ),
}

JOINS = {
    "left, by the key": "CREATE STREAM o AS SELECT s.k, i, d, n, w FROM s LEFT JOIN u ON s.k = u.k;",
    "inner, by the key": "CREATE STREAM o AS SELECT s.k, i + 1 AS x, n, w FROM s JOIN u ON s.k = u.k "
    "WHERE d > 0.15;",
    "left, by a column": "CREATE STREAM o AS SELECT s.t, s.k AS sk, u.k AS uk, n, w FROM s "
    "LEFT JOIN u ON s.t = u.k;",
    "left, by a number": "CREATE STREAM o AS SELECT s.b, s.k AS sk, n, w FROM s LEFT JOIN un ON s.b = un.k;",
    "inner, by a number": "CREATE STREAM o AS SELECT s.b, n, w, s.rowtime AS r FROM s JOIN un ON s.b = un.k;",
    "inner, then aggregated": "CREATE TABLE o AS SELECT n, COUNT(*) AS c, SUM(d) AS x FROM s "
    "JOIN u ON s.t = u.k GROUP BY n;",
}

INTS = st.none() | st.integers(-3, 3) | st.sampled_from([2**31 - 1, -(2**31)])
LONGS = st.none() | st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)])
DOUBLES = st.none() | st.sampled_from([0.1, 0.2, 1.5, -2.5, 1e16, 3.0, float("inf")])
RECORD = st.tuples(
    st.sampled_from([None, "a", "b"]),
    st.none()
    | st.tuples(INTS, LONGS, DOUBLES, st.sampled_from([None, "x", "y", "z"]), st.none() | st.booleans()),
    st.integers(0, 60),
)


NUMBER_KEYS = {"a": -3, "b": 2**63 - 1, "x": 0, "y": 1}
CHANGE = st.tuples(
    st.sampled_from(["a", "b", "x", "y"]),
    st.none() | st.tuples(st.sampled_from([None, "p", "q"]), DOUBLES),
    st.just(0),
)


@pytest.fixture(scope="module")
def engine() -> Any:
    with Engine.open() as engine:
        yield engine


def query(engine: Engine, text: str) -> PersistentQuery:
    """The query of a statement, taken out of the engine so that the test can feed it."""
    ksql = Ksql(engine)
    if ksql.metastore.get("S") is None:
        ksql.execute(STREAM)
    ksql.execute(text)
    (found,) = ksql.running.values()
    ksql.execute("DROP STREAM o DELETE TOPIC;" if "CREATE STREAM" in text else "DROP TABLE o DELETE TOPIC;")
    found.reset()
    return found


def emitted(
    engine: Engine,
    query: PersistentQuery,
    records: list[Any],
    cuts: list[int],
    *,
    columns: bool,
    topic: str = "s",
) -> list[Any]:
    (source,) = (x for x in query.plan.sources if x.topic == topic)
    codec = Ksql(engine).codec(source)
    out: list[Any] = []
    bounds = [0, *sorted(c % (len(records) + 1) for c in cuts), len(records)]
    for start, stop in pairwise(bounds):
        if start == stop:
            continue
        part = records[start:stop]
        keys = [None if k is None else (k,) for k, _, _ in part]
        payload = Payload.from_rows(codec.schema, keys, [v for _, v, _ in part])
        if columns:
            payload = Payload.from_columns(codec.schema, payload.columns, len(part))
        batch = Batch(np.array([ts for _, _, ts in part]), payload=payload, codec=codec)
        for to, found in query.process(topic, StoredBatch(batch, start, start, start), _Context):  # type: ignore[arg-type]
            if to == query.sink.topic:
                assert found.payload is not None
                windows = found.payload.windows or [None] * found.num_rows
                out += zip(
                    found.payload.keys, found.payload.values, found.timestamp_list(), windows, strict=True
                )
    return [repr(o) for o in out]


class _Context:
    now_ms, seed, position, replaying = 0, 1, 1, False


@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_batches_through_both_forms_give_identical_output(
    engine: Engine, name: str, data: st.DataObject
) -> None:
    records = data.draw(st.lists(RECORD, min_size=1, max_size=60))
    cuts = data.draw(st.lists(st.integers(0, 60), max_size=4))
    prepared = query(engine, QUERIES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "COLUMN_ROWS", 1 << 60)
        by_row = emitted(engine, prepared, records, [], columns=False)
    prepared.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "COLUMN_ROWS", 1)
        patch.setattr(reader, "CONVERT_ROWS", 1)
        by_column = emitted(engine, prepared, records, cuts, columns=True)
    assert by_column == by_row


@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_query_goes_from_one_form_to_the_other_and_over_a_checkpoint(
    engine: Engine, name: str, data: st.DataObject
) -> None:
    parts = data.draw(st.lists(st.lists(RECORD, min_size=1, max_size=20), min_size=1, max_size=5))
    prepared = query(engine, QUERIES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "COLUMN_ROWS", 1 << 60)
        by_row = [emitted(engine, prepared, part, [], columns=False) for part in parts]
    prepared.reset()
    by_turns = []
    for i, part in enumerate(parts):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(topology, "COLUMN_ROWS", 1 if i % 2 else 1 << 60)
            by_turns.append(emitted(engine, prepared, part, [], columns=bool(i % 2)))
        state = prepared.checkpoint()
        prepared.reset()
        prepared.restore(state)
    assert by_turns == by_row


@pytest.mark.parametrize("name", JOINS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_joins_of_both_forms_give_identical_output(engine: Engine, name: str, data: st.DataObject) -> None:
    rounds = data.draw(
        st.lists(
            st.tuples(st.lists(CHANGE, max_size=6), st.lists(RECORD, min_size=1, max_size=20)), max_size=3
        )
    )
    prepared = query(engine, JOINS[name])
    (table,) = (x for x in prepared.plan.sources if not x.is_stream)

    def outputs(*, columns: bool) -> list[Any]:
        out: list[Any] = []
        for changes, records in rounds:
            if table.topic == "un":
                changes = [(NUMBER_KEYS[k], v, ts) for k, v, ts in changes]
            out += emitted(engine, prepared, changes, [], columns=False, topic=table.topic)
            out += emitted(engine, prepared, records, [7], columns=columns)
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "COLUMN_ROWS", 1 << 60)
        by_row = outputs(columns=False)
    prepared.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "COLUMN_ROWS", 1)
        by_column = outputs(columns=True)
    assert by_column == by_row


@pytest.mark.parametrize("name", JOINS)
def test_every_join_here_does_have_a_column_form(engine: Engine, name: str) -> None:
    stream, _ = query(engine, JOINS[name]).topology._operators.paths
    assert all(stage.columns is not None for stage in stream.stages)


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_here_does_have_a_column_form(engine: Engine, name: str) -> None:
    (path,) = query(engine, QUERIES[name]).topology._operators.paths
    assert all(stage.columns is not None for stage in path.stages)
