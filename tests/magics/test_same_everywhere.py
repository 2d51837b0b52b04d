"""One suite of statements: in process, over HTTP, by a cluster's contracts, each also through the magics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from kalam_jupyter.client import connect
from kalam_jupyter.client.connections import connections
from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.magics import waiting
from kalam_jupyter.magics.errors import SqlError
from tests.client.conftest import connection, server  # noqa: F401  (fixtures)
from tests.server.running import TOKEN

SETUP_KSQL = """
CREATE STREAM orders (id INT KEY, item STRING, price DOUBLE, tags ARRAY<STRING>, bought TIMESTAMP)
  WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);
SET 'auto.offset.reset' = 'earliest';
CREATE TABLE totals AS SELECT item, COUNT(*) AS n, SUM(price) AS total FROM orders GROUP BY item;
INSERT INTO orders (ROWTIME, id, item, price, tags, bought)
  VALUES (1000, 1, 'tea', 2.5, ARRAY['hot'], '2024-01-01T00:00:00');
INSERT INTO orders (ROWTIME, id, item, price, tags) VALUES (2000, 2, 'milk', 1.0, ARRAY['cold', 'white']);
INSERT INTO orders (ROWTIME, id, item, price) VALUES (12000, 3, 'tea', 3.5);
"""
SETUP_KALAM = """
CREATE NAMESPACE app;
CREATE SHARED TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT, score DOUBLE, done BOOLEAN,
  amount DECIMAL(10, 2));
INSERT INTO app.notes (id, body, score, done, amount) VALUES (1, 'one', 0.5, true, 1.25);
INSERT INTO app.notes (id, body) VALUES (2, 'it''s two');
"""


@dataclass(frozen=True)
class Case:
    """A statement, and the rows it gives."""

    dialect: str
    text: str
    rows: list[tuple[Any, ...]]
    options: str = ""


CASES = [
    Case("ksql", "SELECT item, n, total FROM totals WHERE item = 'tea';", [("tea", 2, 6.0)]),
    Case("ksql", "SELECT id, tags FROM orders WHERE price < 3;", [(1, ["hot"]), (2, ["cold", "white"])]),
    Case("ksql", "SELECT id, bought FROM orders LIMIT 1;", [(1, pd.Timestamp("2024-01-01"))]),
    Case("ksql", "SELECT UCASE(item) AS u, price * 2 AS p FROM orders WHERE id = 3;", [("TEA", 7.0)]),
    Case("ksql", "SELECT id FROM orders WHERE item IN ('milk', 'soap');", [(2,)]),
    Case("ksql", "SELECT id FROM orders WHERE price > 100;", []),
    Case(
        "ksql",
        "SELECT id, item FROM orders EMIT CHANGES LIMIT 2;",
        [(1, "tea"), (2, "milk")],
        "--earliest --once",
    ),
    Case(
        "ksql",
        "SELECT item, WINDOWSTART AS s, COUNT(*) AS n FROM orders "
        "WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY item EMIT CHANGES LIMIT 3;",
        [("tea", 0, 1), ("milk", 0, 1), ("tea", 10_000, 1)],
        "--earliest --once",
    ),
    Case("kalam", "SELECT id, body, score, done FROM app.notes WHERE id = 1", [(1, "one", 0.5, True)]),
    Case("kalam", "SELECT body, score FROM app.notes WHERE id = 2", [("it's two", None)]),
    Case("kalam", "SELECT COUNT(*) AS n, SUM(amount) AS s FROM app.notes", [(2, "1.25")]),
    Case(
        "kalam",
        "SELECT item, COUNT(*) AS n FROM ksql.orders GROUP BY item ORDER BY item",
        [("milk", 1), ("tea", 2)],
    ),
    Case("kalam", "SELECT id FROM app.notes WHERE body LIKE 'x%'", []),
]
REFUSED = [
    ("ksql", "SELECT nothing FROM orders;", "40001"),
    ("ksql", "SELEC id FROM orders;", "40001"),
    ("ksql", "DROP STREAM nobody;", "40001"),
    ("kalam", "SELECT nothing FROM app.notes", "SQL_EXECUTION_ERROR"),
    ("kalam", "INSERT INTO app.notes (id, body) VALUES (1, 'again')", "SQL_EXECUTION_ERROR"),
]


@pytest.fixture
def prepared(connection):  # noqa: F811
    connection.ksql(SETUP_KSQL)
    connection.kalam(SETUP_KALAM)
    return connection


def plain(value: Any) -> Any:
    """A cell as a value to compare: exact numbers as text, lists as lists, nulls as None."""
    if isinstance(value, list) or type(value).__name__ == "ndarray":
        return [plain(v) for v in value]
    if value is None or pd.isna(value):
        return None
    if type(value).__name__ == "Decimal":
        return str(value)
    return value


def rows_of(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(map(plain, row)) for row in frame.itertuples(index=False, name=None)]


def test_rows_are_the_same(prepared, run, shell):
    """One engine for all cases: they only read."""
    connections.add("default", prepared)
    for case in CASES:
        run(f"%%{case.dialect} {case.options}\nanswer << {case.text}")
        assert rows_of(shell.user_ns["answer"]) == case.rows, case.text
        if not case.options:
            result = getattr(prepared, case.dialect)(case.text)[-1]
            assert rows_of(result.frame()) == case.rows, case.text


@pytest.mark.parametrize(("dialect", "text", "code"), REFUSED)
def test_refusals_are_the_same(prepared, run, dialect, text, code):
    connections.add("default", prepared)
    with pytest.raises(ClientError) as direct:
        getattr(prepared, dialect)(f"\n{text}")  # where the cell has it
    with pytest.raises(SqlError) as shown:
        run(f"%%{dialect}\n{text}")
    assert (direct.value.code, shown.value.code) == (code, code)
    assert shown.value.message == direct.value.message.strip()


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("%%ksql --once --earliest\nSELECT id FROM orders EMIT CHANGES;", 3),
        ("%%ksql --once --earliest\nSELECT * FROM totals EMIT CHANGES;", 2),
        ("%%ksql --once\nSELECT id FROM orders WHERE price > 100 EMIT CHANGES;", 0),
        ("%%ksql --once\nPRINT orders FROM BEGINNING;", 3),
        ("%%kalam --once\nSUBSCRIBE TO app.notes", 2),
        ("%%kalam --once\nSUBSCRIBE TO ksql.totals", 2),
    ],
)
def test_once_waits_for_no_silence_of_our_own_server(server, run, shell, monkeypatch, statement, rows):  # noqa: F811
    with connect(server.url, token=TOKEN) as connection:  # noqa: F811
        connection.ksql(SETUP_KSQL)
        connection.kalam(SETUP_KALAM)
        connections.add("default", connection)
        monkeypatch.setattr(waiting, "QUIET_S", None)  # for ever
        first, _, text = statement.partition("\n")
        run(f"{first}\nanswer << {text}")
        assert len(shell.user_ns["answer"]) == rows
