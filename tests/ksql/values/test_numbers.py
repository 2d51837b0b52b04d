"""Java's numbers."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.values import EvaluationError
from kalam_jupyter.ksql.values import arithmetic as a
from kalam_jupyter.ksql.values import numbers as n

DOUBLE_TEXTS = [
    (0.0, "0.0"),
    (-0.0, "-0.0"),
    (1.0, "1.0"),
    (100.5, "100.5"),
    (0.001, "0.001"),
    (0.00099, "9.9E-4"),
    (9999999.0, "9999999.0"),
    (1e7, "1.0E7"),
    (1.5e10, "1.5E10"),
    (-1e-5, "-1.0E-5"),
    (1.7976931348623157e308, "1.7976931348623157E308"),
    (5e-324, "4.9E-324"),
    (math.nan, "NaN"),
    (math.inf, "Infinity"),
    (-math.inf, "-Infinity"),
]


@pytest.mark.parametrize(("value", "text"), DOUBLE_TEXTS)
def test_a_double_prints_as_java_prints_it(value: float, text: str) -> None:
    assert n.double_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_double_reads_back_as_itself(value: float) -> None:
    assert n.parse_double(n.double_text(value)) == value


@given(st.integers(-(2**70), 2**70))
def test_wrapping_keeps_the_low_bits_and_the_range(value: int) -> None:
    wrapped = n.wrap_int(value)
    assert n.MIN_INT <= wrapped <= n.MAX_INT
    assert (wrapped - value) % 2**32 == 0
    assert (n.wrap_long(value) - value) % 2**64 == 0


def test_a_double_saturates_on_its_way_to_an_integer() -> None:
    assert n.saturate_int(1e20) == n.MAX_INT
    assert n.saturate_long(-1e30) == n.MIN_LONG
    assert n.saturate_int(math.nan) == 0
    assert n.saturate_long(-1.9) == -1


@pytest.mark.parametrize("text", ["", " ", "1.5", "1_000", "2147483648", "0x10", "１"])
def test_text_that_is_no_int_is_refused(text: str) -> None:
    with pytest.raises(EvaluationError):
        n.parse_integer(text, t.INTEGER)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "inf", "1e", "", "1_0.0", "."])
def test_text_that_is_no_finite_double_is_refused(text: str) -> None:
    with pytest.raises(EvaluationError):
        n.parse_double(text)


def test_decimals_are_checked_before_they_are_rounded() -> None:
    assert n.fit_decimal(Decimal("9.99"), 2, 1) == Decimal("10.0")
    with pytest.raises(EvaluationError, match=r"less than 10\^1\. Got 10"):
        n.fit_decimal(Decimal("10"), 2, 1)


DECIMAL_TYPES = [
    ("+", (4, 2), (5, 3), (6, 3)),
    ("-", (4, 2), (4, 2), (5, 2)),
    ("*", (4, 2), (3, 1), (8, 3)),
    ("/", (4, 2), (4, 2), (11, 7)),
    ("%", (4, 2), (5, 3), (5, 3)),
]


@pytest.mark.parametrize(("operator", "left", "right", "result"), DECIMAL_TYPES)
def test_decimal_result_types_follow_the_contract(
    operator: str, left: tuple[int, int], right: tuple[int, int], result: tuple[int, int]
) -> None:
    assert a.arithmetic_type(operator, t.Decimal(*left), t.Decimal(*right)) == t.Decimal(*result)


def test_integers_and_decimals_meet_as_decimals() -> None:
    assert a.arithmetic_type("+", t.Decimal(4, 2), t.INTEGER) == t.Decimal(13, 2)
    assert a.arithmetic_type("+", t.BIGINT, t.Decimal(4, 2)) == t.Decimal(22, 2)
    assert a.arithmetic_type("*", t.Decimal(4, 2), t.DOUBLE) == t.DOUBLE


def run(operator: str, left: t.DataType, right: t.DataType, x: object, y: object) -> object:
    function = a.arithmetic_function(operator, left, right)
    assert function is not None
    return function(x, y)


def test_decimal_arithmetic_never_rounds() -> None:
    d = t.Decimal(4, 2)
    assert run("/", d, d, Decimal("10.10"), Decimal("2.00")) == Decimal("5.05")
    with pytest.raises(EvaluationError, match="Rounding necessary"):
        run("/", d, d, Decimal("1.00"), Decimal("3.00"))
    with pytest.raises(EvaluationError, match="Division by zero"):
        run("/", d, d, Decimal("1.00"), Decimal("0.00"))


@given(
    st.decimals(-99, 99, places=2, allow_nan=False),
    st.decimals(-99, 99, places=2, allow_nan=False),
    st.sampled_from("+-*"),
)
def test_decimal_sums_and_products_are_exact_and_carry_the_result_scale(
    x: Decimal, y: Decimal, operator: str
) -> None:
    type_ = t.Decimal(4, 2)
    result = run(operator, type_, type_, x, y)
    assert isinstance(result, Decimal)
    exact = {"+": x + y, "-": x - y, "*": x * y}[operator]
    expected_type = a.arithmetic_type(operator, type_, type_)
    assert isinstance(expected_type, t.Decimal)
    assert result == exact
    assert result.as_tuple().exponent == -expected_type.scale


@given(st.integers(n.MIN_INT, n.MAX_INT), st.integers(n.MIN_INT, n.MAX_INT).filter(bool))
def test_integer_division_truncates_and_modulo_has_the_sign_of_the_dividend(x: int, y: int) -> None:
    quotient, remainder = run("/", t.INTEGER, t.INTEGER, x, y), run("%", t.INTEGER, t.INTEGER, x, y)
    assert isinstance(quotient, int)
    assert isinstance(remainder, int)
    assert n.wrap_int(quotient * y + remainder) == x
    assert remainder == 0 or (remainder < 0) == (x < 0)


def test_division_by_zero_fails_for_integers_and_is_infinite_for_doubles() -> None:
    with pytest.raises(EvaluationError, match="/ by zero"):
        run("/", t.BIGINT, t.BIGINT, 1, 0)
    assert run("/", t.DOUBLE, t.INTEGER, -1.0, 0) == -math.inf
    assert math.isnan(run("/", t.DOUBLE, t.DOUBLE, 0.0, 0.0))  # type: ignore[arg-type]


def test_unsupported_operands_are_named() -> None:
    with pytest.raises(KsqlError, match=r"Unsupported arithmetic types\. BOOLEAN DECIMAL"):
        a.arithmetic_type("+", t.BOOLEAN, t.Decimal(2, 1))
    with pytest.raises(KsqlError, match=r"Arithmetic on types INTEGER and null are not supported\."):
        a.arithmetic_type("+", t.INTEGER, None)


@given(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 38))
def test_decimals_of_38_digits_keep_them_all(digits: int, scale: int) -> None:
    type_ = t.Decimal(38, scale)
    value = n.from_unscaled(digits, scale)
    assert n.unscaled(value, scale) == digits
    negated = a.negation_function(type_)(value)
    assert n.unscaled(negated, scale) == -digits
    assert n.unscaled(n.rescaled(value, scale), scale) == digits


def test_there_is_no_negative_zero_of_decimals() -> None:
    small = Decimal("-0.01")
    assert str(n.rescaled(small, 1)) == str(n.fit_decimal(small, 3, 1)) == "0.0"
    assert str(run("*", t.Decimal(3, 2), t.Decimal(1, 0), small, Decimal(0))) == "0.00"
    assert str(run("%", t.Decimal(3, 2), t.Decimal(3, 2), small, small)) == "0.00"
    assert str(a.negation_function(t.Decimal(2, 1))(Decimal("0.0"))) == "0.0"


def test_the_smallest_doubles_have_two_digits() -> None:
    texts = {n.double_text(x) for x in (5e-324, 1e-323, -2e-322, 2.2250738585072014e-308)}
    assert texts == {"4.9E-324", "9.9E-324", "-2.0E-322", "2.2250738585072014E-308"}
    assert n.shortest_decimal(5e-324) == Decimal("4.9E-324")
