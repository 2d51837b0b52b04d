"""Values that ksqlDB lets out of their types' bounds: shown as they are, in every result."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from kalam_jupyter.changes import from_result_rows, result_array
from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.types import INTEGER, STRING, Array, Map, Struct
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
    for precision in (3, 30, 38, 50, 76):
        type_ = DecimalType(precision, 2)
        value = Decimal(10) ** (precision - 2)
        rows = [value, None, -value]
        assert result_array(rows, type_).to_pylist() == rows
        lists = [rows, None, []]
        assert result_array(lists, Array(type_)).to_pylist() == lists
        structs = [(value,), None, (None,)]
        expected = [{"A": value}, None, {"A": None}]
        assert result_array(structs, Struct((("A", type_),))).to_pylist() == expected
        maps = [{"a": value}, None, {}]
        expected_maps = [[("a", value)], None, []]
        assert result_array(maps, Map(STRING, type_)).to_pylist() == expected_maps


def test_a_pull_query_by_key_finds_the_row() -> None:
    with Engine.open() as engine:
        ksql = Ksql(engine)
        engine.start()
        ksql.execute(STREAM.partition("INSERT")[0])
        ksql.execute("CREATE TABLE t AS SELECT k, CEIL(MAX(d)) AS c, COUNT(*) AS n FROM s GROUP BY k;")
        ksql.execute("INSERT INTO s VALUES ('a', 9.9, NULL); INSERT INTO s VALUES ('b', 1.5, NULL);")
        assert ksql.query("SELECT c, n FROM t WHERE k = 'a';").table().to_pylist() == [
            {"C": Decimal("10.0"), "N": 1}
        ]


def test_what_is_of_another_type_is_still_refused() -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        result_array(["x"], INTEGER)
    assert result_array(["x"], STRING).to_pylist() == ["x"]
