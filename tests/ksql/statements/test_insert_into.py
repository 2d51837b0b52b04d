"""INSERT INTO .. SELECT: what fits the sink."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.errors import StatementError


@pytest.fixture
def streams(ksql: Ksql) -> Ksql:
    end = "WITH (kafka_topic='{0}', value_format='{1}', partitions=1);"
    ksql.execute("CREATE STREAM input (id INT KEY, d DECIMAL(4, 1), i INT) " + end.format("input", "JSON"))
    ksql.execute("CREATE STREAM output (id INT KEY, d DECIMAL(6, 3)) " + end.format("output", "AVRO"))
    ksql.execute("CREATE STREAM small (id INT KEY, d DECIMAL(4, 0)) " + end.format("small", "JSON"))
    return ksql


def inserted(ksql: Ksql, expression: str) -> list[Any]:
    ksql.execute(f"INSERT INTO output SELECT id, {expression} AS d FROM input;")
    ksql.execute("INSERT INTO input (id, d, i) VALUES (1, 12.5, 3);")
    ksql.engine.settle()
    return [r["D"] for r in ksql.query("SELECT d FROM output;").table().to_pylist()]


@pytest.mark.parametrize(
    ("expression", "value"),
    [("d", "12.500"), ("7", "7.000"), ("7.25", "7.250"), ("-3", "-3.000"), ("1.5E1", "15.000")],
)
def test_literals_and_narrower_decimals_become_the_sinks_type(
    streams: Ksql, expression: str, value: str
) -> None:
    (found,) = inserted(streams, expression)
    assert str(found) == value
    assert found == Decimal(value)


@pytest.mark.parametrize("expression", ["i", "i + 1", "CAST(d AS DOUBLE)", "1234", "'x'"])
def test_all_else_is_incompatible(streams: Ksql, expression: str) -> None:
    with pytest.raises(StatementError, match="Incompatible schema between results and sink"):
        streams.execute(f"INSERT INTO output SELECT id, {expression} AS d FROM input;")


def test_fraction_digits_are_never_lost(streams: Ksql) -> None:
    with pytest.raises(StatementError, match="Incompatible schema between results and sink"):
        streams.execute("INSERT INTO small SELECT id, d FROM input;")
