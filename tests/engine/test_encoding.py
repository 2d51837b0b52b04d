"""Rows and schemas through JSON and Arrow, exactly."""

from __future__ import annotations

import decimal
import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine.chunk import batch_to_rows, rows_to_batch
from kalam_jupyter.engine.encoding import (
    row_checker,
    rows_from_json,
    rows_to_json,
    schema_from_json,
    schema_to_json,
)
from kalam_jupyter.engine.errors import LogCorruptError, RowError
from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    BYTES,
    DATE,
    DOUBLE,
    FLOAT,
    INTEGER,
    SMALLINT,
    STRING,
    Array,
    Column,
    DataType,
    Decimal,
    Logical,
    Map,
    Schema,
    Struct,
    Time,
    Timestamp,
)

LEAVES: list[tuple[DataType, st.SearchStrategy[Any]]] = [
    (BOOLEAN, st.booleans()),
    (SMALLINT, st.integers(-(2**15), 2**15 - 1)),
    (INTEGER, st.integers(-(2**31), 2**31 - 1)),
    (BIGINT, st.integers(-(2**63), 2**63 - 1)),
    (FLOAT, st.floats(width=32)),
    (DOUBLE, st.floats()),
    (STRING, st.text(st.characters(exclude_categories=["Cs"]))),
    (BYTES, st.binary(max_size=20)),
    (DATE, st.integers(-700_000, 2_900_000)),
    (Time("ms"), st.integers(0, 86_399_999)),
    (Time("us"), st.integers(0, 86_399_999_999)),
    (Timestamp("ms"), st.integers(-(2**45), 2**45)),
    (Timestamp("us", "UTC"), st.integers(-(2**55), 2**55)),
    (
        Decimal(10, 3),
        st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**6), max_value=10**6),
    ),
    (Decimal(50, 0), st.integers(-(10**49), 10**49).map(decimal.Decimal)),
    (Logical("UUID", STRING), st.uuids().map(str)),
]
HASHABLE = [leaf for leaf in LEAVES if leaf[0] in (STRING, BIGINT, BOOLEAN, DATE)]


def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Strategies of (type, strategy of its values), one level deeper."""
    null = lambda s: st.one_of(st.none(), s)  # noqa: E731
    arrays = inner.map(lambda p: (Array(p[0]), st.lists(null(p[1]), max_size=3)))
    maps = st.tuples(st.sampled_from(HASHABLE), inner).map(
        lambda p: (Map(p[0][0], p[1][0]), st.dictionaries(p[0][1], null(p[1][1]), max_size=3))
    )
    structs = st.lists(inner, min_size=1, max_size=3).map(
        lambda ps: (
            Struct(tuple((f"f{i}", t) for i, (t, _) in enumerate(ps))),
            st.tuples(*(null(s) for _, s in ps)),
        )
    )
    return st.one_of(arrays, maps, structs)


TYPES = st.recursive(st.sampled_from(LEAVES), nest, max_leaves=4)


def same(a: Any, b: Any) -> bool:
    """Equal and of one class throughout; NaN equals NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_type_survives_json_and_arrow(data: st.DataObject) -> None:
    types = data.draw(st.lists(TYPES, min_size=1, max_size=4))
    schema = Schema.of([Column(f"c{i}", t, key=i == 0) for i, (t, _) in enumerate(types)])
    rows = data.draw(st.lists(st.tuples(*(st.one_of(st.none(), s) for _, s in types)), max_size=4))
    row_checker(schema)(rows)
    assert same(rows_from_json(schema, orjson.loads(orjson.dumps(rows_to_json(schema, rows)))), rows)
    assert same(batch_to_rows(schema, rows_to_batch(schema, rows)), rows)
    assert schema_from_json(json.loads(json.dumps(schema_to_json(schema)))) == schema


def test_null_rows_stay_null() -> None:
    schema = Schema.of([Column("k", BYTES, key=True), Column("v", BYTES), Column("w", DOUBLE)])
    keys, values = [None, (b"\xff",)], [(b"", math.inf), None]
    assert rows_from_json(schema, json.loads(orjson.dumps(rows_to_json(schema, keys, "key"))), "key") == keys
    assert (
        rows_from_json(schema, json.loads(orjson.dumps(rows_to_json(schema, values, "value"))), "value")
        == values
    )


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (SMALLINT, 2**15),
        (INTEGER, -(2**31) - 1),
        (BIGINT, True),
        (BOOLEAN, 1),
        (DOUBLE, "1"),
        (STRING, b"a"),
        (Time("ms"), 86_400_000),
        (Decimal(4, 2), decimal.Decimal("100")),
        (Decimal(4, 2), decimal.Decimal("0.001")),
        (Decimal(4, 2), decimal.Decimal("NaN")),
        (Array(INTEGER), [1, "x"]),
        (Array(FLOAT, 2), [1.0]),
        (Map(STRING, INTEGER), {"a": "b"}),
        (Map(STRING, INTEGER), {None: 1}),
        (Struct((("a", INTEGER),)), (1, 2)),
        (Struct((("a", INTEGER),)), [1]),
    ],
)
def test_values_that_are_not_of_the_type_are_refused(type_: DataType, value: Any) -> None:
    with pytest.raises(RowError, match="column 'c' is"):
        row_checker(Schema.of([Column("c", type_)]))([(value,)])


def test_a_type_of_a_newer_version_is_said_to_be_unknown() -> None:
    with pytest.raises(LogCorruptError, match="unknown type 'TENSOR'"):
        schema_from_json([["c", ["TENSOR", 3], False, True]])
