"""Types: what goes into a column, and what comes back in Python and in JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.kalam.conftest import START_MS, Client

TYPES: list[tuple[str, str, Any, Any]] = [
    ("BOOLEAN", "true", True, True),
    ("SMALLINT", "7", 7, 7),
    ("BIGINT", "'9007199254740993'", 9007199254740993, "9007199254740993"),
    ("FLOAT", "0.1", 0.10000000149011612, 0.10000000149011612),
    ("DOUBLE PRECISION", "1.5e0", 1.5, 1.5),
    ("DECIMAL(12,2)", "200.745", Decimal("200.75"), "200.75"),
    ("NUMERIC(5,2)", "-0.5", Decimal("-0.50"), "-0.50"),
    ("VARCHAR(3)", "'longer'", "longer", "longer"),
    ("JSONB", "'{\"a\":1}'", '{"a":1}', '{"a":1}'),
    ("BYTEA", "X'4869'", b"Hi", [72, 105]),
    (
        "UUID",
        "'018F0000-0000-7000-8000-000000000001'",
        "018f0000-0000-7000-8000-000000000001",
        "018f0000-0000-7000-8000-000000000001",
    ),
    ("TIMESTAMP", "'2026-03-08T11:15:00Z'", 1772968500000000, 1772968500000000),
    ("DATETIME", "'2026-03-08T12:15:00+01:00'", 1772968500000000, 1772968500000000),
    ("DATE", "'2024-12-14'", 20071, 20071),
    ("TIME", "'12:34:56'", 45296000000, 45296000000),
    ("EMBEDDING(2)", "'[0.5, 1]'", [0.5, 1.0], [0.5, 1.0]),
]


@pytest.mark.parametrize(("type_", "literal", "physical", "json"), TYPES)
@pytest.mark.parametrize("path", ["direct", "engine"])
def test_every_type_round_trips(
    root: Client, type_: str, literal: str, physical: Any, json: Any, path: str
) -> None:
    root.run(f"CREATE SHARED TABLE app.v (id INT PRIMARY KEY, v {type_})")
    root.run(f"INSERT INTO app.v VALUES (1, {literal}), (2, NULL)")
    sql = (
        "SELECT v FROM app.v"
        if path == "direct"
        else "SELECT v FROM app.v WHERE id + 0 > 0 GROUP BY id, v ORDER BY id"
    )
    assert root.rows(sql) == [(physical,), (None,)]
    assert root.json(sql) == [[json], [None]]


def test_defaults_fill_omitted_columns_only(root: Client) -> None:
    root.run(
        "CREATE SHARED TABLE app.d (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), u TEXT DEFAULT "
        "UUID_V7(), l TEXT DEFAULT ULID(), "
        "at TIMESTAMP DEFAULT NOW(), who TEXT DEFAULT CURRENT_USER(), n INT DEFAULT 7, s TEXT DEFAULT 'x', "
        "v INT)"
    )
    root.run("INSERT INTO app.d (v) VALUES (1), (2); INSERT INTO app.d (v, n) VALUES (3, NULL)")
    rows = root.rows("SELECT id, u, l, at, who, n, s FROM app.d")
    assert len({r[0] for r in rows}) == len({r[1] for r in rows}) == len({r[2] for r in rows}) == 3
    assert [r[3:] for r in rows] == [(START_MS * 1000, "root", 7, "x")] * 2 + [
        (START_MS * 1000, "root", None, "x")
    ]


def test_parameters_beyond_bigint_are_doubles(root: Client) -> None:
    result = root.one("SELECT $1 AS n", 2**63)
    assert (result.schema[0]["data_type"], result.rows()) == ("Double", [(float(2**63),)])
    root.run("CREATE TABLE app.big (id BIGINT PRIMARY KEY, d DOUBLE)")
    assert "Unable to cast value 9223372036854775808 to type BIGINT" in (
        root.error("INSERT INTO app.big VALUES ($1, 0)", 2**63).message
    )
    root.run("INSERT INTO app.big VALUES (1, $1)", 2**64)
    assert root.rows("SELECT id FROM app.big WHERE d > $1", 2**63) == [(1,)]
