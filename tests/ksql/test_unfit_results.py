"""Values that ksqlDB lets out of their types' bounds: shown as they are, in every result."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from kalam_jupyter.changes import from_result_rows, result_array
from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.types import INTEGER, STRING
from kalam_jupyter.engine.types import Decimal as DecimalType
from kalam_jupyter.ksql import Ksql

STREAM = (
    "CREATE STREAM s (k STRING KEY, d DECIMAL(2, 1), t STRING) "
    "WITH (kafka_topic='s', value_format='JSON', partitions=1);"
    "INSERT INTO s VALUES ('a', 9.9, NULL);"
)
QUERY = "SELECT CEIL(d) AS c, MAP(t := 1, 'x' := 2) AS m FROM s"
ROW = {"C": Decimal("10.0"), "M": [("null", 1), ("x", 2)]}


def test_a_pull_query_tells_them() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        engine.start()
        ksql.execute(STREAM)
        assert ksql.query(f"{QUERY};").table().to_pylist() == [ROW]


def test_a_push_query_tells_them() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        engine.start()
        ksql.execute(STREAM)
        query = ksql.query(f"{QUERY} EMIT CHANGES LIMIT 1;", properties={"auto.offset.reset": "earliest"})
        rows = []
        while not query.finished:
            rows += query.poll()
            query.wait(10)
        types = [c.type for c in query.columns]
        schema = pa.schema([pa.field(c.name, c.type.arrow) for c in query.columns])
        changes = from_result_rows(rows, types, schema, keyed=False)
    assert changes.batch.to_pylist() == [ROW]


def test_decimals_keep_their_digits() -> None:
    for precision in (3, 30, 50):
        value = Decimal(10) ** (precision - 2) + Decimal("0.25")
        kept = result_array([value, None], DecimalType(precision, 2)).to_pylist()
        assert kept == [value, None]


def test_what_is_of_another_type_is_still_refused() -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        result_array(["x"], INTEGER)
    assert result_array(["x"], STRING).to_pylist() == ["x"]
