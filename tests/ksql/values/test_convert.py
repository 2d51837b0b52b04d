"""Casts, comparisons, and the common type of several expressions."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.values import EvaluationError
from kalam_jupyter.ksql.values.coerce import NO_LITERAL, Operand, coercion, common_type
from kalam_jupyter.ksql.values.compare import comparison_function, greater_function, sort_key
from kalam_jupyter.ksql.values.convert import cast_function, identity, widens_to

FIELDS = t.Struct((("F0", t.INTEGER), ("f1", t.STRING)))
CASTS: list[tuple[Any, t.DataType, t.DataType, Any]] = [
    (True, t.BOOLEAN, t.STRING, "true"),
    (2147483648, t.BIGINT, t.INTEGER, -2147483648),
    (-1.9, t.DOUBLE, t.INTEGER, -1),
    (Decimal("10.01"), t.Decimal(4, 2), t.BIGINT, 10),
    (0.99, t.DOUBLE, t.Decimal(2, 1), Decimal("1.0")),
    ("1.25", t.STRING, t.Decimal(3, 1), Decimal("1.3")),
    (7, t.INTEGER, t.Decimal(3, 1), Decimal("7.0")),
    (1e10, t.DOUBLE, t.STRING, "1.0E10"),
    (Decimal("0.00"), t.Decimal(4, 2), t.STRING, "0.00"),
    ("YE", t.STRING, t.BOOLEAN, True),
    ("nope", t.STRING, t.BOOLEAN, False),
    (" 42 ", t.STRING, t.BIGINT, 42),
    ("1970-01", t.STRING, t.DATE, 0),
    ("00:00:00.010", t.STRING, t.TIME, 10),
    ("2022-04-28T21:44:47.943Z", t.STRING, t.TIMESTAMP, 1651182287943),
    ("2022-04-28T21:44:47.943+0100", t.STRING, t.TIMESTAMP, 1651182287943 - 3_600_000),
    ("1970-01-01T24", t.STRING, t.TIMESTAMP, 86_400_000),
    ("2021-02-31", t.STRING, t.TIMESTAMP, 1_614_470_400_000),
    ("IQ==", t.STRING, t.BYTES, b"!"),
    (b"!", t.BYTES, t.STRING, "IQ=="),
    (-2000, t.TIMESTAMP, t.TIME, 86398000),
    (-1, t.TIMESTAMP, t.DATE, -1),
    (2, t.DATE, t.TIMESTAMP, 172_800_000),
    (10, t.TIMESTAMP, t.STRING, "1970-01-01T00:00:00.010"),
    (-1, t.DATE, t.STRING, "1969-12-31"),
    (4000, t.TIME, t.STRING, "00:00:04"),
    (60_000, t.TIME, t.STRING, "00:01"),
    ([1, None, 2147483648], t.Array(t.BIGINT), t.Array(t.INTEGER), [1, None, -2147483648]),
    ([1, None], t.Array(t.INTEGER), t.STRING, "[1, null]"),
    ({"this": 1}, t.Map(t.STRING, t.INTEGER), t.STRING, "{this=1}"),
    ((1, None), FIELDS, t.STRING, "Struct{F0=1}"),
    ((1, "x"), FIELDS, t.Struct((("f1", t.STRING), ("NEW", t.DOUBLE), ("F0", t.BIGINT))), ("x", None, 1)),
]


@pytest.mark.parametrize(("value", "source", "target", "expected"), CASTS)
def test_cast(value: Any, source: t.DataType, target: t.DataType, expected: Any) -> None:
    result = cast_function(source, target)(value)
    assert result == expected
    assert type(result) is type(expected)


FAILING_CASTS = [
    ("foo", t.STRING, t.INTEGER),
    ("2021-02-30", t.STRING, t.DATE),
    ("25:00", t.STRING, t.TIME),
    ("yesterday", t.STRING, t.TIMESTAMP),
    ("2021-01-01 10:00", t.STRING, t.TIMESTAMP),
    ("=", t.STRING, t.BYTES),
    (10, t.INTEGER, t.Decimal(2, 1)),
    (float("nan"), t.DOUBLE, t.Decimal(4, 2)),
    ("NaN", t.STRING, t.DOUBLE),
]


@pytest.mark.parametrize(("value", "source", "target"), FAILING_CASTS)
def test_a_value_that_does_not_fit_fails_at_run_time(
    value: Any, source: t.DataType, target: t.DataType
) -> None:
    with pytest.raises(EvaluationError):
        cast_function(source, target)(value)


def test_pairs_without_a_cast_are_refused_when_planned() -> None:
    with pytest.raises(KsqlError, match=r"^Cast of STRING to ARRAY<INTEGER> is not supported$"):
        cast_function(t.STRING, t.Array(t.INTEGER))
    with pytest.raises(KsqlError, match=re.escape("Cast of BOOLEAN to INTEGER is not supported")):
        cast_function(t.BOOLEAN, t.INTEGER)


@given(st.integers(-(10**14), 10**14))
def test_every_timestamp_survives_its_text(ms: int) -> None:
    text = cast_function(t.TIMESTAMP, t.STRING)(ms)
    if -62_135_596_800_000 <= ms < 253_402_300_800_000:
        assert cast_function(t.STRING, t.TIMESTAMP)(text) == ms


def test_widening_goes_from_int_to_double_and_from_text_to_dates() -> None:
    chain = [t.INTEGER, t.BIGINT, t.Decimal(30, 2), t.DOUBLE]
    for i, narrow in enumerate(chain):
        for j, wide in enumerate(chain):
            assert widens_to(narrow, wide) == (i <= j)
    assert widens_to(t.STRING, t.DATE)
    assert not widens_to(t.DATE, t.STRING)
    assert widens_to(None, t.BYTES)
    assert cast_function(t.INTEGER, t.INTEGER) is identity


def compare(operator: str, left: t.DataType, right: t.DataType, a: Any, b: Any) -> bool:
    function = comparison_function(operator, left, right)
    if function is None:
        python = {"=": a == b, "<>": a != b}
        return python[operator] if operator in python else {"<": a < b, ">": a > b}[operator]
    return function(a, b)


def test_comparisons_across_types() -> None:
    assert compare("=", t.Decimal(3, 2), t.DOUBLE, Decimal("0.10"), 0.1)
    assert compare("<", t.INTEGER, t.DOUBLE, 1, 1.5)
    assert compare(">", t.DATE, t.TIMESTAMP, 10, 863_999_999)
    assert compare("=", t.TIME, t.STRING, 10, "00:00:00.010")
    assert compare("<", t.STRING, t.DATE, "1970-01-01", 1)
    with pytest.raises(EvaluationError):
        compare("=", t.DATE, t.STRING, 1, "soon")


def test_strings_order_by_utf16_code_unit_and_bytes_by_signed_byte() -> None:
    beyond, private = "\U0001f600", "\ue000"
    assert compare("<", t.STRING, t.STRING, beyond, private)
    key = sort_key(t.STRING)
    assert sorted([private, beyond], key=key) == [beyond, private]
    assert greater_function(t.BYTES)(b"\x01", b"\xff")


REFUSED_COMPARISONS = [
    (
        "<",
        t.Array(t.INTEGER),
        t.Array(t.INTEGER),
        "Cannot compare B (ARRAY<INTEGER>) to C (ARRAY<INTEGER>) with LESS_THAN.",
    ),
    (">=", t.INTEGER, t.STRING, "Cannot compare B (INTEGER) to C (STRING) with GREATER_THAN_OR_EQUAL."),
    ("=", t.BYTES, t.STRING, "Cannot compare B (BYTES) to C (STRING) with EQUAL."),
    ("<>", t.INTEGER, None, "Comparison with NULL not supported: INTEGER <> NULL"),
]


@pytest.mark.parametrize(("operator", "left", "right", "message"), REFUSED_COMPARISONS)
def test_what_cannot_be_compared_is_named(
    operator: str, left: t.DataType, right: t.DataType | None, message: str
) -> None:
    with pytest.raises(KsqlError, match=re.escape(message)):
        comparison_function(operator, left, right, "B", "C")


def literal(type_: t.DataType, value: Any, text: str | None = None) -> Operand:
    return Operand(type_, text or repr(value), value)


def test_numbers_widen_to_their_common_type_and_literals_follow() -> None:
    column = Operand(t.INTEGER, "X")
    assert common_type([column, literal(t.STRING, "2147483648")]) == t.BIGINT
    assert common_type([column, literal(t.Decimal(3, 2), Decimal("5.10"))]) == t.Decimal(12, 2)
    assert common_type([Operand(None, "null"), column]) == t.INTEGER
    assert coercion(literal(t.STRING, "7"), t.BIGINT)("7") == 7


def test_structs_merge_to_the_union_of_their_fields() -> None:
    left = t.Struct((("A", t.BIGINT), ("B", t.BIGINT)))
    right = t.Struct((("B", t.INTEGER), ("C", t.INTEGER)))
    merged = common_type([Operand(left, "X"), Operand(right, "Y")])
    assert merged == t.Struct((("A", t.BIGINT), ("B", t.BIGINT), ("C", t.INTEGER)))
    assert coercion(Operand(right, "Y"), merged)((2, 3)) == (None, 2, 3)


def test_a_text_that_is_no_number_is_an_invalid_input() -> None:
    with pytest.raises(KsqlError, match=re.escape('invalid input syntax for type BIGINT: "not 10".')):
        common_type([Operand(t.BIGINT, "X"), literal(t.STRING, "not 10")])


def test_operands_without_a_common_type_are_named_as_a_whole() -> None:
    inner = Operand(t.BOOLEAN, "VAL1", NO_LITERAL)
    constructor = Operand(t.Array(t.BOOLEAN), "ARRAY[VAL1]", parts=(inner,))
    expected = "operator does not exist: ARRAY<BIGINT> = ARRAY<BOOLEAN> (ARRAY[VAL1])\nHint: You might need"
    with pytest.raises(KsqlError, match=re.escape(expected)):
        common_type([Operand(t.Array(t.BIGINT), "X"), constructor])
