from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.stepping import Step, Stepping

SOURCES = """
CREATE STREAM o (id INT KEY, item STRING, price DOUBLE)
  WITH (KAFKA_TOPIC='o', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE STREAM p (id INT KEY, amount INT) WITH (KAFKA_TOPIC='p', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE u (id INT PRIMARY KEY, name STRING, city STRING, boss INT)
  WITH (KAFKA_TOPIC='u', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE c (id INT PRIMARY KEY, title STRING) WITH (KAFKA_TOPIC='c', VALUE_FORMAT='JSON', PARTITIONS=1);
"""


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    with Engine.open() as engine:
        found = Ksql(engine)
        found.execute(SOURCES)
        engine.start()
        yield found


def feed(stepping: Stepping, *records: tuple[str, dict[str, Any]]) -> list[Step]:
    return [stepping.step(stepping.record(source, values)) for source, values in records]


def at(step: Step, kind: str) -> Any:
    return next(o for o in step.operators if o.node.startswith(kind))


def notes(steps: list[Step], kind: str) -> list[str]:
    return [at(step, kind).note for step in steps]


def orders(*moments: int, item: str = "tea") -> list[tuple[str, dict[str, Any]]]:
    return [("o", {"id": i, "item": item, "price": i, "rowtime": ts}) for i, ts in enumerate(moments)]


def test_every_operator_shows_what_it_got_and_gave(ksql):
    stepping = Stepping(
        ksql,
        "CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM o WHERE price > 1 GROUP BY item"
        " HAVING COUNT(*) > 1;",
    )
    first, second, third = feed(
        stepping,
        ("o", {"id": 1, "item": "tea", "price": 2}),
        ("O", {"ID": 2, "ITEM": "tea", "PRICE": "3.5"}),
        ("o", {"id": 3, "item": "tea", "price": 0.5}),
    )
    assert [n["kind"] for n in stepping.nodes] == [
        "SOURCE",
        "FILTER",
        "GROUP_BY",
        "AGGREGATE",
        "FILTER",
        "PROJECT",
    ]
    assert [o.node for o in first.operators] == [
        "Source-0",
        "Filter-1",
        "GroupBy-2",
        "Aggregate-3",
        "Filter-4",
    ]
    assert at(first, "Aggregate").note == "a new group" and first.outputs == ()
    grouped = at(second, "GroupBy")
    assert (grouped.inputs[0].key, grouped.outputs[0].key) == ({"ID": 2}, {"ITEM": "tea"})
    (groups,) = at(second, "Aggregate").after.tables
    assert (groups.columns, groups.rows) == (("ITEM", "COUNT(*)", "ROWTIME"), (("tea", 2, 1000),))
    assert groups.changes(at(second, "Aggregate").before.tables[0]) == {("tea",): "changed"}
    assert [(r.key, r.value) for r in second.outputs] == [({"ITEM": "tea"}, {"N": 2})]
    assert [o.node for o in third.operators] == ["Source-0", "Filter-1"]
    assert at(third, "Filter").note == "is not true: left out"


def test_windows_open_take_records_and_close(ksql):
    stepping = Stepping(
        ksql,
        "SELECT item, COUNT(*) FROM o WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS)"
        " GROUP BY item EMIT CHANGES;",
    )
    steps = feed(stepping, *orders(1_000, 2_000, 30_000, 3_000))
    assert notes(steps, "Windowed") == [
        "opens a window",
        "adds to a window",
        "opens a window, closes a window",
        "late: its window is closed, left out",
    ]
    aggregate = at(steps[1], "Windowed").after
    assert aggregate.tables[0].rows == (("tea", 0, 10_000, 2, 2_000),)
    assert (aggregate.stream_time, at(steps[3], "Windowed").after.stream_time) == (2_000, 30_000)


def test_hopping_windows_overlap(ksql):
    stepping = Stepping(
        ksql,
        "SELECT item, COUNT(*) FROM o WINDOW HOPPING (SIZE 10 SECONDS, ADVANCE BY 5 SECONDS) GROUP BY item"
        " EMIT CHANGES;",
    )
    (step,) = feed(stepping, *orders(12_000))
    assert at(step, "Windowed").note == "opens 2 windows"
    assert [r.window for r in step.outputs] == [(5_000, 15_000), (10_000, 20_000)]


def test_final_windows_emit_when_they_close(ksql):
    stepping = Stepping(
        ksql,
        "SELECT item, COUNT(*) FROM o WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 0 SECONDS)"
        " GROUP BY item EMIT FINAL;",
    )
    steps = feed(stepping, *orders(1_000, 2_000, 11_000))
    assert [len(s.outputs) for s in steps] == [0, 0, 1]
    assert notes(steps, "Windowed")[2] == "opens a window, closes a window"


def test_sessions_open_grow_and_merge(ksql):
    stepping = Stepping(
        ksql, "SELECT item, COUNT(*) AS n FROM o WINDOW SESSION (10 SECONDS) GROUP BY item EMIT CHANGES;"
    )
    steps = feed(stepping, *orders(1_000, 5_000, 21_000, 13_000))
    assert notes(steps, "Windowed") == [
        "opens a session",
        "makes a session longer",
        "opens a session",
        "joins 2 sessions into one",
    ]
    assert at(steps[3], "Windowed").after.tables[0].rows == (("tea", 1_000, 21_000, 4),)
    gone = [(r.window, r.value) for r in steps[3].outputs]
    assert gone == [
        ((1_000, 5_000), None),
        ((21_000, 21_000), None),
        ((1_000, 21_000), {"ITEM": "tea", "N": 4}),
    ]


def test_a_stream_join_buffers_matches_and_gives_up(ksql):
    stepping = Stepping(
        ksql,
        "SELECT o.id, item, amount FROM o LEFT JOIN p WITHIN 10 SECONDS GRACE PERIOD 2 SECONDS"
        " ON o.id = p.id EMIT CHANGES;",
    )
    steps = feed(
        stepping,
        ("o", {"id": 1, "item": "tea"}),
        ("p", {"id": 1, "amount": 7}),
        ("o", {"id": 2, "item": "milk"}),
        ("o", {"id": 3, "rowtime": 60_000}),
    )
    assert notes(steps, "Join")[:3] == [
        "is buffered, and waits for a match",
        "1 result; buffered",
        "is buffered, and waits for a match",
    ]
    left, right = at(steps[2], "Join").after.tables
    assert [row[-1] for row in left.rows] == ["matched", "waiting"]
    assert dict(zip(right.columns, right.rows[0], strict=True))["JOINS FROM"] == -9_000
    assert [r.value for r in steps[3].outputs] == [{"O_ID": 2, "ITEM": "milk", "AMOUNT": None}]
    assert at(steps[1], "Join").inputs[0].via == "Source-1"


def test_a_table_aggregation_takes_rows_out_of_their_old_group(ksql):
    stepping = Stepping(ksql, "SELECT city, COUNT(*) AS n FROM u GROUP BY city EMIT CHANGES;")
    steps = feed(
        stepping, ("u", {"id": 1, "city": "Bern"}), ("u", {"id": 1, "city": "Kiel"}), ("u", {"id": 1})
    )
    assert notes(steps, "Source") == ["a new row", "replaces the row", "the row is deleted"]
    assert at(steps[1], "Aggregate").note == "taken out of one group, put into another"
    assert at(steps[1], "Aggregate").inputs[0].old == {"NAME": None, "CITY": "Bern", "BOSS": None}
    assert [r.value for r in steps[1].outputs] == [{"CITY": "Bern", "N": 0}, {"CITY": "Kiel", "N": 1}]
    assert at(steps[2], "Source").after.tables[0].rows == ()


def test_table_joins_keep_both_sides(ksql):
    stepping = Stepping(ksql, "SELECT u.id, name, title FROM u JOIN c ON u.boss = c.id EMIT CHANGES;")
    steps = feed(
        stepping,
        ("u", {"id": 1, "name": "Ann", "boss": 5}),
        ("c", {"id": 5, "title": "boss"}),
        ("c", {"id": 5}),
    )
    assert at(steps[0], "Join").after.tables[2].rows == ((5, 1),)
    assert [len(s.outputs) for s in steps] == [0, 1, 1] and steps[2].outputs[0].value is None
    assert notes(steps, "Join")[2] == "no longer joins: deleted"


def test_a_stream_looks_up_the_row_of_a_table(ksql):
    stepping = Stepping(ksql, "SELECT o.id, name FROM o JOIN u ON o.id = u.id EMIT CHANGES;")
    steps = feed(stepping, ("u", {"id": 1, "name": "Ann"}), ("o", {"id": 1}), ("o", {"id": 2}))
    assert notes(steps, "Join") == [
        "the table's row is kept, nothing is emitted",
        "",
        "no row on the other side",
    ]


QUERIES = [
    "SELECT id, UCASE(item) AS item FROM o WHERE price > 1 EMIT CHANGES;",
    "SELECT item, COUNT(*) AS n, SUM(price) AS total FROM o GROUP BY item EMIT CHANGES;",
    "SELECT item, MAX(price) AS m FROM o WINDOW TUMBLING (SIZE 4 SECONDS, GRACE PERIOD 1 SECOND)"
    " GROUP BY item EMIT CHANGES;",
    "SELECT item, COUNT(*) AS n FROM o WINDOW HOPPING (SIZE 6 SECONDS, ADVANCE BY 3 SECONDS)"
    " GROUP BY item EMIT CHANGES;",
    "SELECT item, COUNT(*) AS n FROM o WINDOW SESSION (2 SECONDS) GROUP BY item EMIT CHANGES;",
    "SELECT item, COUNT(*) AS n FROM o WINDOW TUMBLING (SIZE 4 SECONDS, GRACE PERIOD 0 SECONDS)"
    " GROUP BY item EMIT FINAL;",
    "SELECT item, EXPLODE(SPLIT(item, 'e')) AS part FROM o EMIT CHANGES;",
    "SELECT item, COLLECT_LIST(price) AS prices FROM o GROUP BY item HAVING COUNT(*) > 2 EMIT CHANGES;",
    "SELECT id, item FROM o PARTITION BY item EMIT CHANGES;",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_a_query_gives_by_steps_what_it_gives_when_it_runs(ksql, sql):
    stepping = Stepping(ksql, sql)
    running = ksql.query(sql)
    moments = [0, 3_000, 1_000, 9_000, 9_500, 2_000, 20_000, 21_000]
    stepped = []
    for i, ts in enumerate(moments):
        values = {"id": i % 2, "item": ("tea", "coffee", "mate")[i % 3], "price": i / 2}
        step = stepping.step(stepping.record(None, {**values, "rowtime": ts}))
        ksql.execute(
            "INSERT INTO o (ROWTIME, id, item, price)"
            f" VALUES ({ts}, {values['id']}, '{values['item']}', {values['price']});"
        )
        stepped += [r.value for r in step.outputs]
    ran = running.poll(100)
    names = [c.name for c in running.columns]
    rows = [None if r.tombstone else dict(zip(names, r.values, strict=True)) for r in ran]
    assert stepped == rows
    running.close()


def test_values_are_read_as_their_columns_types(ksql):
    ksql.execute(
        "CREATE STREAM all_types (k STRING KEY, i INT, n DECIMAL(6, 2), d DATE, t TIMESTAMP, ok BOOLEAN,"
        " xs ARRAY<INT>, m MAP<STRING, INT>, s STRUCT<a INT, b STRING>)"
        " WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    stepping = Stepping(ksql, "SELECT * FROM all_types EMIT CHANGES;")
    typed = {
        "k": "x", "i": 1, "n": Decimal("1.50"), "d": date(2026, 5, 1), "t": datetime(2026, 5, 1, 12),
        "ok": True, "xs": [1, 2], "m": {"a": 1}, "s": {"A": 1, "b": "y"},
    }  # fmt: skip
    texts = {
        "k": "x", "i": "1", "n": "1.50", "d": "2026-05-01", "t": "2026-05-01 12:00:00", "ok": "true",
        "xs": "[1, 2]", "m": '{"a": 1}', "s": '{"a": 1, "b": "y"}',
    }  # fmt: skip
    a, b = feed(stepping, ("all_types", typed), ("all_types", texts))
    assert a.record.value == b.record.value and a.record.value[3] == 1_777_636_800_000
    assert a.outputs[0].value["D"] == date(2026, 5, 1)


@pytest.mark.parametrize(
    ("source", "values", "message"),
    [
        ("o", {"id": 1, "prize": 2}, "O has no column PRIZE; it has ID, ITEM, PRICE"),
        ("o", {"id": "one"}, "ID is INTEGER, and 'one' is not"),
        ("o", {"id": 1, "rowtime": "noon"}, "ROWTIME 'noon' is no time"),
        ("p", {"id": 1}, "The query does not read p; it reads O"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(ksql, source, values, message):
    stepping = Stepping(ksql, "SELECT * FROM o EMIT CHANGES;")
    with pytest.raises(KsqlError, match=message.replace("(", r"\(")):
        stepping.record(source, values)


def test_event_time_is_a_second_later_unless_it_is_given(ksql):
    stepping = Stepping(ksql, "SELECT * FROM o EMIT CHANGES;")
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    steps = feed(
        stepping,
        ("o", {"id": 1}),
        ("o", {"id": 2}),
        ("o", {"id": 3, "ROWTIME": moment}),
        ("o", {"id": 4, "rowtime": "2026-05-01T00:01"}),
    )
    start = int(moment.timestamp() * 1000)
    assert [s.record.rowtime for s in steps] == [0, 1_000, start, start + 60_000]


def test_event_time_is_that_of_the_timestamp_column(ksql):
    ksql.execute(
        "CREATE STREAM e (id INT KEY, t BIGINT) WITH (KAFKA_TOPIC='e', FORMAT='JSON', PARTITIONS=1,"
        " TIMESTAMP='t');"
        "CREATE STREAM f (id INT KEY, t STRING) WITH (KAFKA_TOPIC='f', FORMAT='JSON', PARTITIONS=1,"
        " TIMESTAMP='t', TIMESTAMP_FORMAT='yyyy-MM-dd HH:mm:ss');"
    )
    join = Stepping(ksql, "SELECT e.id FROM e JOIN f WITHIN 1 SECOND ON e.id = f.id EMIT CHANGES;")
    steps = join.feed({"e": [{"id": 1, "t": 9_000}], "f": [{"id": 1, "t": "1970-01-01 00:00:08"}]})
    assert [(s.record.source, s.given.rowtime) for s in steps] == [("F", 8_000), ("E", 9_000)]
    (lost,) = feed(Stepping(ksql, "SELECT id FROM e EMIT CHANGES;"), ("e", {"id": 1}))
    assert lost.operators[0].note == "left out" and lost.reports == ("the timestamp column T is null",)


def test_values_that_cannot_be_computed_are_reported(ksql):
    stepping = Stepping(ksql, "SELECT CAST(item AS INT) / 0 AS n FROM o EMIT CHANGES;")
    (step,) = feed(stepping, ("o", {"id": 1, "item": "7"}))
    assert step.outputs[0].value == {"N": None} and len(step.reports) == 1


def test_reset_begins_anew(ksql):
    stepping = Stepping(ksql, "SELECT item, COUNT(*) AS n FROM o GROUP BY item EMIT CHANGES;")
    feed(stepping, *orders(0, 1))
    stepping.reset()
    (step,) = feed(stepping, *orders(0))
    assert (step.number, step.outputs[0].value["N"]) == (1, 1)


def test_a_persistent_query_is_named_by_its_id_and_goes_on_undisturbed(ksql):
    ksql.execute("CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM o GROUP BY item;")
    (query_id,) = ksql.running
    stepping = Stepping(ksql, query_id)
    feed(stepping, *orders(0, 1))
    assert stepping.statement.startswith("CREATE TABLE t AS")
    assert ksql.query("SELECT * FROM t;").table().num_rows == 0


@pytest.mark.parametrize(
    "statement", ["LIST STREAMS;", "SELECT * FROM o; SELECT * FROM o;", "SELECT * FROM nowhere;"]
)
def test_what_is_no_query_is_refused(ksql, statement):
    with pytest.raises(KsqlError):
        Stepping(ksql, statement)


def test_frames_are_fed_in_event_time(ksql):
    frame = pd.DataFrame(
        {"id": [2, 1], "item": ["b", "a"], "at": pd.to_datetime(["2026-05-02", "2026-05-01"])}
    )
    stepping = Stepping(ksql, "SELECT * FROM o EMIT CHANGES;")
    with pytest.raises(KsqlError, match="O has no column AT"):
        stepping.feed(frame)
    steps = stepping.feed(frame.rename(columns={"at": "ROWTIME"}), timestamp="ROWTIME")
    assert [s.record.key for s in steps] == [(1,), (2,)]


def test_records_of_several_sources_are_merged_by_event_time(ksql):
    stepping = Stepping(ksql, "SELECT o.id, name FROM o JOIN u ON o.id = u.id EMIT CHANGES;")
    steps = stepping.feed({"o": [{"id": 1, "rowtime": 5}], "u": [{"id": 1, "name": "Ann", "rowtime": 3}]})
    assert [s.record.source for s in steps] == ["U", "O"] and len(steps[1].outputs) == 1
    with pytest.raises(KsqlError, match="give them a ROWTIME"):
        stepping.feed({"o": [{"id": 1}]})
