"""Pull queries of tables: which keys are looked up, what is refused, what comes back in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.batch import Batch
from kalam_jupyter.ksql import Ksql, StatementError

NO_SCAN = {"ksql.query.pull.table.scan.enabled": False}
SETUP = """
CREATE STREAM INPUT (ID INT KEY, NAME STRING) WITH (KAFKA_TOPIC='input', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE STREAM PAIRS (A STRING KEY, B INT KEY, V INT)
  WITH (KAFKA_TOPIC='pairs', KEY_FORMAT='JSON', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE COUNTS AS SELECT ID, COUNT(*) AS N FROM INPUT GROUP BY ID;
CREATE TABLE BY_NAME AS SELECT NAME, COUNT(*) AS N FROM INPUT GROUP BY NAME;
CREATE TABLE WINDOWED AS SELECT ID, COUNT(*) AS N FROM INPUT WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY ID;
CREATE TABLE BY_PAIR AS SELECT A, B, COUNT(*) AS N FROM PAIRS GROUP BY A, B;
INSERT INTO INPUT (ROWTIME, ID, NAME) VALUES (1000, 3, 'c');
INSERT INTO INPUT (ROWTIME, ID, NAME) VALUES (1100, 1, 'a');
INSERT INTO INPUT (ROWTIME, ID, NAME) VALUES (2200, 1, 'a');
INSERT INTO PAIRS (A, B, V) VALUES ('x', 1, 0);
"""


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    with Engine.open() as engine:
        found = Ksql(engine, {"ksql.streams.auto.offset.reset": "earliest"})
        engine.start()
        found.execute(SETUP)
        yield found


def rows(ksql: Ksql, sql: str, **properties: Any) -> list[tuple[Any, ...]]:
    return [r.values for r in ksql.query(sql, properties=properties).poll()]


def refusal(ksql: Ksql, sql: str, properties: dict[str, Any] = NO_SCAN) -> str:
    with pytest.raises(StatementError) as caught:
        ksql.query(sql, properties=properties)
    return caught.value.message


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("ID = 1", [(1, 2)]),
        ("1 = ID", [(1, 2)]),
        ("ID = 4 - 1", [(3, 1)]),
        ("ID IN (3, 1, 7)", [(3, 1), (1, 2)]),
        ("ID = 1 AND N > 1", [(1, 2)]),
        ("ID = 1 AND N > 2", []),
        ("ID = 1 OR ID = 3", [(1, 2), (3, 1)]),
        ("(ID = 1 OR ID = 3) AND N = 1", [(3, 1)]),
        ("ID >= 2", [(3, 1)]),
    ],
)
def test_keys_are_looked_up_without_a_scan(ksql: Ksql, where: str, expected: list[Any]) -> None:
    assert rows(ksql, f"SELECT * FROM COUNTS WHERE {where};", **NO_SCAN) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM COUNTS;", "Query requires table scan to be enabled"),
        ("SELECT * FROM COUNTS WHERE N = 1;", "WHERE clause missing key column for disjunct: (N = 1)"),
        (
            "SELECT * FROM COUNTS WHERE ID != 1;",
            "Bound on key columns '[`ID` INTEGER KEY]' must currently be '='. ",
        ),
        ("SELECT * FROM COUNTS WHERE ID < 1 OR ID > 2;", "Query requires table scan to be enabled"),
        ("SELECT * FROM WINDOWED WHERE ID < 1;", "Query requires table scan to be enabled"),
        ("SELECT * FROM COUNTS WHERE 0 < ID AND ID < 9;", "cannot be combined with other comparisons"),
        ("SELECT * FROM COUNTS WHERE ID = N;", "between a key column and a resolvable expression."),
        ("SELECT * FROM COUNTS WHERE ID + 1 = 2;", "A comparison must directly reference a key column."),
        ("SELECT * FROM COUNTS WHERE ID IN (1, N);", "between a key column and a resolvable expression."),
        ("SELECT * FROM BY_NAME WHERE NAME LIKE 'a%';", "Like condition must be between strings"),
        (
            "SELECT * FROM BY_PAIR WHERE A = 'x';",
            "Multi-column sources must specify every key in the WHERE clause. "
            "Specified: [`A`] Expected: [`A` STRING KEY, `B` INTEGER KEY]",
        ),
    ],
)
def test_what_needs_a_scan_is_refused_while_scans_are_off(ksql: Ksql, query: str, message: str) -> None:
    found = refusal(ksql, query)
    assert message in found
    assert found.endswith("\nAdd EMIT CHANGES if you intended to issue a push query.")


def test_a_range_needs_range_scans(ksql: Ksql) -> None:
    off = {**NO_SCAN, "ksql.query.pull.range.scan.enabled": False}
    assert "Query requires table scan" in refusal(ksql, "SELECT * FROM COUNTS WHERE ID > 1;", off)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("ID = '1'", "Cannot compare ID (INTEGER) to '1' (STRING) with EQUAL.\nStatement: (ID = '1')"),
        ("ID IN ('1')", "'1' can not be converted to the type of the key column: ID INTEGER KEY"),
        ("ID IN (1, null)", "Primary key columns can not be NULL: (ID = null)"),
        ("ID = null", "Comparison with NULL not supported: INTEGER = NULL"),
        ("ID BETWEEN 'a' AND 2", "Invalid expression: Cannot compare ID (INTEGER) to 'a' (STRING)"),
        ("ROWOFFSET = 1", "Pull queries don't support the following columns in WHERE clauses: `ROWOFFSET`"),
    ],
)
def test_conditions_without_a_meaning_are_refused(ksql: Ksql, where: str, message: str) -> None:
    assert message in refusal(ksql, f"SELECT * FROM COUNTS WHERE {where};", {})


def test_rows_of_a_scan_come_in_the_order_of_the_keys_bytes(ksql: Ksql) -> None:
    assert rows(ksql, "SELECT * FROM COUNTS;") == [(1, 2), (3, 1)]
    assert rows(ksql, "SELECT * FROM COUNTS LIMIT 1;") == [(1, 2)]
    assert rows(ksql, "SELECT * FROM COUNTS LIMIT 0;") == []


def test_windows_of_a_key_are_found(ksql: Ksql) -> None:
    assert rows(ksql, "SELECT * FROM WINDOWED WHERE ID = 1;") == [(1, 1000, 2000, 1), (1, 2000, 3000, 1)]
    found = rows(ksql, "SELECT * FROM WINDOWED WHERE ID = 1 AND WINDOWSTART >= '1970-01-01T00:00:02';")
    assert found == [(1, 2000, 3000, 1)]


def test_windows_past_their_retention_are_gone(ksql: Ksql) -> None:
    ksql.execute(
        "CREATE TABLE SHORT AS SELECT ID, COUNT(*) AS N FROM INPUT "
        "WINDOW TUMBLING (SIZE 1 SECOND, RETENTION 2 SECONDS, GRACE PERIOD 0 SECONDS) GROUP BY ID;"
    )
    assert len(rows(ksql, "SELECT * FROM SHORT WHERE ID = 1;")) == 2
    ksql.execute("INSERT INTO INPUT (ROWTIME, ID) VALUES (9000, 1);")
    assert rows(ksql, "SELECT * FROM SHORT WHERE ID = 1;") == [(1, 9000, 10000, 1)]
    assert rows(ksql, "SELECT ID, WINDOWSTART FROM SHORT;") == [(1, 9000)]


def test_a_negative_limit_is_refused(ksql: Ksql) -> None:
    for query in ("SELECT * FROM COUNTS LIMIT -1;", "SELECT * FROM INPUT LIMIT -1;"):
        assert "don't support negative integers in the LIMIT clause." in refusal(ksql, query, {})
    assert "don't support negative" in refusal(ksql, "SELECT * FROM INPUT EMIT CHANGES LIMIT -1;", {})


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("SELECT COUNT(*) FROM COUNTS;", "aggregate functions: COUNT."),
        ("SELECT SUM(ID) FROM INPUT;", "aggregate functions: SUM."),
        ("SELECT EXPLODE(ARRAY[N]) FROM COUNTS;", "table functions: EXPLODE."),
    ],
)
def test_functions_that_make_other_rows_are_refused(ksql: Ksql, query: str, kind: str) -> None:
    assert refusal(ksql, query, {}).startswith(f"Pull queries don't support {kind}")


def test_source_tables_show_headers_and_extracted_times() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        engine.start()
        engine.transact(lambda tx: tx.create_topic("t"))
        ksql.execute(
            "CREATE SOURCE TABLE T (K STRING PRIMARY KEY, WHEN_MS BIGINT, H BYTES HEADER('h')) "
            "WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', TIMESTAMP='WHEN_MS');"
        )
        batch = Batch([5], raw=([b"a"], [b'{"WHEN_MS": 77}']), headers=[(("h", b"!"),)])
        engine.transact(lambda tx: tx.append("t", batch))
        query = ksql.query("SELECT *, ROWTIME FROM T;")
        assert [r.values for r in query.poll()] == [("a", 77, b"!", 77)]
        assert [(c.name, c.key, c.header) for c in query.columns] == [
            ("K", True, ""),
            ("WHEN_MS", False, ""),
            ("H", False, "HEADER('h')"),
            ("ROWTIME", False, ""),
        ]


def test_all_windows_of_a_key_are_in_its_partition(ksql: Ksql) -> None:
    ksql.execute(
        "CREATE TABLE SPREAD WITH (PARTITIONS=8) AS SELECT ID, COUNT(*) AS N FROM INPUT "
        "WINDOW TUMBLING (SIZE 1 SECOND) GROUP BY ID;"
        "CREATE TABLE PLAIN WITH (PARTITIONS=8) AS SELECT ID, COUNT(*) AS N FROM INPUT GROUP BY ID;"
        "INSERT INTO INPUT (ROWTIME, ID) VALUES (7000, 1);"
    )
    ksql.engine.settle()

    def partitions(topic: str) -> list[int]:
        stored = ksql.engine.topic(topic).read(0)
        return [p for s in stored for p in s.batch.partition_array().tolist()]

    assert len(set(partitions("SPREAD"))) == 2
    assert set(partitions("SPREAD")) == set(partitions("PLAIN"))
