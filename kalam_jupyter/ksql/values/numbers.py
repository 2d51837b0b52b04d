"""Java's numbers: wrapping and saturating integers, the text of a DOUBLE, exact decimals."""

from __future__ import annotations

import math
import re
import sys
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
)
from functools import cache

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.values.errors import EvaluationError

MIN_INT, MAX_INT = -(1 << 31), (1 << 31) - 1
MIN_LONG, MAX_LONG = -(1 << 63), (1 << 63) - 1

#: Decimals without a limit of digits; it traps nothing but nonsense.
EXACT = Context(
    prec=2000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation, DivisionByZero], rounding=ROUND_HALF_UP
)
#: The same, in which losing a digit is an error.
UNNECESSARY = Context(
    prec=2000,
    Emax=MAX_EMAX,
    Emin=MIN_EMIN,
    traps=[InvalidOperation, DivisionByZero, Inexact],
    rounding=ROUND_HALF_UP,
)

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_FLOATING = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


def wrap_int(value: int) -> int:
    """Return the low 32 bits of `value`, signed."""
    if MIN_INT <= value <= MAX_INT:
        return value
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def wrap_long(value: int) -> int:
    """Return the low 64 bits of `value`, signed."""
    if MIN_LONG <= value <= MAX_LONG:
        return value
    return ((value + 0x8000000000000000) & 0xFFFFFFFFFFFFFFFF) - 0x8000000000000000


def saturate_int(value: float) -> int:
    """Return a DOUBLE as INT: toward zero, held at the limits, NaN as 0 (Java's narrowing conversion)."""
    return _saturate(value, MIN_INT, MAX_INT)


def saturate_long(value: float) -> int:
    """Return a DOUBLE as BIGINT: toward zero, held at the limits, NaN as 0."""
    return _saturate(value, MIN_LONG, MAX_LONG)


def _saturate(value: float, low: int, high: int) -> int:
    if value != value:
        return 0
    if value >= high:
        return high
    if value <= low:
        return low
    return int(value)


def double_text(value: float) -> str:
    """Return Java's text of a DOUBLE: shortest digits, exponent form below 1e-3 and from 1e7.

    Examples
    --------
    >>> double_text(1.0), double_text(1e10), double_text(0.00001)
    ('1.0', '1.0E10', '1.0E-5')
    """
    if 1e-3 <= value < 1e7 or -1e7 < value <= -1e-3 or value == 0:
        return repr(value)
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign, text = ("-", _shortest(-value)) if value < 0 else ("", _shortest(value))
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    scientific = int(exponent or 0) + (len(whole) - 1 if whole != "0" else len(digits) - len(fraction) - 1)
    return f"{sign}{digits[0]}.{digits[1:].rstrip('0') or '0'}E{scientific}"


def _shortest(value: float) -> str:
    """Return the shortest digits that no other DOUBLE has; Java takes the nearest of two at least."""
    if abs(value) < sys.float_info.min:
        two = f"{value:.1e}"
        if float(two) == value:
            return two
    return repr(value)


def decimal_plain(value: Decimal) -> str:
    """Return a decimal without exponent, with all digits of its scale (BigDecimal.toPlainString)."""
    return format(value, "f")


def shortest_decimal(value: float) -> Decimal:
    """Return the decimal of a DOUBLE's shortest text (BigDecimal.valueOf)."""
    if not math.isfinite(value):
        raise EvaluationError(f"{double_text(value)} is not a number that a DECIMAL can hold")
    return Decimal(_shortest(value))


@cache
def scale_unit(scale: int) -> Decimal:
    """Return the quantum of a scale: 1E-scale."""
    return Decimal((0, (1,), -scale))


@cache
def decimal_bound(precision: int, scale: int) -> Decimal:
    """Return the smallest absolute value that DECIMAL(precision, scale) cannot hold."""
    return Decimal((0, (1,), precision - scale))


def overflow_message(value: Decimal, precision: int, scale: int) -> str:
    """Return the text of a decimal that has too many integer digits: some have more than fit in memory."""
    shown = decimal_plain(value) if value.adjusted() < 1000 else str(value)
    return (
        f"Numeric field overflow: A field with precision {precision} and scale {scale} must round to an "
        f"absolute value less than 10^{precision - scale}. Got {shown}"
    )


def fit_decimal(value: Decimal, precision: int, scale: int) -> Decimal:
    """Return `value` rounded HALF_UP to `scale`.

    Raises
    ------
    EvaluationError
        If it has more integer digits than DECIMAL(precision, scale) holds before rounding.
    """
    bound = decimal_bound(precision, scale)
    if not -bound < value < bound:
        raise EvaluationError(overflow_message(value, precision, scale))
    return rescaled(value, scale)


def rescaled(value: Decimal, scale: int, context: Context = EXACT, rounding: str | None = None) -> Decimal:
    """Return `value` with a scale, rounded as `context` or `rounding` says.

    There is no negative zero, as in BigDecimal.
    """
    result = value.quantize(scale_unit(scale), rounding, context)
    return result if result else result.copy_abs()


def unscaled(value: Decimal, scale: int) -> int:
    """Return ``value * 10^scale``, which is a whole number for a value of that scale."""
    return int(EXACT.scaleb(value, Decimal(scale)))


def from_unscaled(digits: int, scale: int) -> Decimal:
    """Return ``digits / 10^scale``."""
    return EXACT.scaleb(Decimal(digits), Decimal(-scale))


def double_to_decimal(value: float, precision: int, scale: int) -> Decimal:
    """Return a DOUBLE as DECIMAL: its exact value rounded HALF_UP to `precision` digits, then to `scale`."""
    if not math.isfinite(value):
        raise EvaluationError(f"{double_text(value)} is not a number that a DECIMAL can hold")
    return fit_decimal(_digits_context(precision).create_decimal_from_float(value), precision, scale)


@cache
def _digits_context(precision: int) -> Context:
    return Context(prec=precision, Emax=MAX_EMAX, Emin=MIN_EMIN, rounding=ROUND_HALF_UP, traps=[])


def parse_integer(text: str, type_: t.DataType = t.BIGINT) -> int:
    """Parse Java integer syntax of type INTEGER or BIGINT, blanks around it allowed.

    Raises
    ------
    EvaluationError
        If it is no integer, or out of range.
    """
    stripped = trim(text)
    if _INTEGER.match(stripped):
        value = int(stripped)
        low, high = (MIN_INT, MAX_INT) if type_ == t.INTEGER else (MIN_LONG, MAX_LONG)
        if low <= value <= high:
            return value
    raise EvaluationError(f'For input string: "{text}"')


def parse_double(text: str) -> float:
    """Parse the text of a finite DOUBLE; NaN and Infinity are refused, as ksqlDB does."""
    stripped = trim(text)
    if stripped[-1:] in "fFdD" and stripped[-1:]:
        stripped = stripped[:-1]
    if not _FLOATING.match(stripped):
        raise EvaluationError(f'For input string: "{text}"')
    return float(stripped)


def parse_decimal(text: str) -> Decimal:
    """Parse BigDecimal syntax, blanks around it allowed; the scale is that of the text."""
    stripped = trim(text)
    if not _FLOATING.match(stripped):
        raise EvaluationError(f'Character array is missing "exponent" or holds no number: "{text}"')
    return Decimal(stripped)


def trim(text: str) -> str:
    """Strip characters up to U+0020 at both ends (Java's String.trim)."""
    start, end = 0, len(text)
    while start < end and text[start] <= " ":
        start += 1
    while start < end and text[end - 1] <= " ":
        end -= 1
    return text[start:end]


def decimal_digits(value: Decimal) -> tuple[int, int]:
    """Return (precision, scale) of the narrowest DECIMAL type that holds `value` as written."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if exponent > 0:
        return len(digits) + exponent, 0
    scale = -exponent
    return max(len(digits), scale + (1 if len(digits) <= scale else 0)), scale


#: How the integer types count as DECIMAL.
_INTEGER_DECIMALS: dict[t.DataType, t.Decimal] = {t.INTEGER: t.Decimal(10, 0), t.BIGINT: t.Decimal(19, 0)}


def as_decimal_type(type_: t.DataType) -> t.Decimal:
    """Return the DECIMAL type that INTEGER, BIGINT or a DECIMAL counts as."""
    return type_ if isinstance(type_, t.Decimal) else _INTEGER_DECIMALS[type_]


#: Numeric types from narrow to wide.
NUMERIC_RANK = {"INTEGER": 0, "BIGINT": 1, "DECIMAL": 2, "DOUBLE": 3}


def numeric_rank(type_: t.DataType | None) -> int | None:
    """Return a numeric type's place in INTEGER, BIGINT, DECIMAL, DOUBLE; None for other types."""
    if isinstance(type_, t.Primitive):
        return NUMERIC_RANK.get(type_.name)
    return 2 if isinstance(type_, t.Decimal) else None


def wider(left: t.DataType, right: t.DataType) -> t.DataType:
    """Return the narrowest numeric type that holds both numeric types."""
    a, b = numeric_rank(left), numeric_rank(right)
    assert a is not None and b is not None
    if max(a, b) != 2:
        return left if a >= b else right
    return wider_decimal(as_decimal_type(left), as_decimal_type(right))


def wider_decimal(left: t.Decimal, right: t.Decimal) -> t.Decimal:
    """Return the narrowest DECIMAL type that holds both: s = max(s), p = max(p - s) + s."""
    scale = max(left.scale, right.scale)
    return t.Decimal(max(left.precision - left.scale, right.precision - right.scale) + scale, scale)
