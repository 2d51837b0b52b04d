"""Values as text, the way the text formats read them; each reader raises `SerdeError`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.formats.base import SerdeError
from kalam_jupyter.ksql.values.numbers import double_text

INT_BOUNDS = (-(2**31), 2**31 - 1)
LONG_BOUNDS = (-(2**63), 2**63 - 1)
TIME_BOUNDS = (0, 86_400_000)

#: Types that are integers on the wire, with the least and the greatest value
INTEGER_BOUNDS: dict[str, tuple[int, int]] = {
    "INTEGER": INT_BOUNDS,
    "BIGINT": LONG_BOUNDS,
    "DATE": INT_BOUNDS,
    "TIME": TIME_BOUNDS,
    "TIMESTAMP": LONG_BOUNDS,
}

_INTEGER = re.compile(r"[+-]?[0-9]+")
_DOUBLE = re.compile(r"([+-]?)(NaN|Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fFdD]?")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def read_integer(text: str, bounds: tuple[int, int]) -> int:
    """Read a plain integer: optional sign, digits, no blanks."""
    if not _INTEGER.fullmatch(text):
        raise SerdeError(f'For input string: "{text}"')
    value = int(text) if len(text) < 1000 else bounds[1] + 1
    if not bounds[0] <= value <= bounds[1]:
        raise SerdeError(f'Value out of range: "{text}"')
    return value


def read_double(text: str) -> float:
    """Read what Java's Double.parseDouble reads, hexadecimal floats excepted."""
    match = _DOUBLE.fullmatch(text.strip("".join(map(chr, range(33)))))
    if not match:
        raise SerdeError(f'For input string: "{text}"')
    return float(match[1] + match[2])


def fit_decimal(value: Decimal, type_: t.Decimal) -> Decimal:
    """Return `value` with exactly the scale of `type_`; rounding is not allowed, nor more digits than fit."""
    if not value:
        return Decimal((0, (0,), -type_.scale))
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    shift = exponent + type_.scale
    if shift < 0:
        if any(digits[shift:]):
            raise SerdeError(f"Rounding necessary: {value} does not fit {type_}")
        digits = digits[:shift]
    if len(digits) + max(shift, 0) > type_.precision:
        raise SerdeError(
            f"Numeric field overflow: A field with precision {type_.precision} and scale "
            f"{type_.scale} must round to an absolute value less than "
            f"10^{type_.precision - type_.scale}. Got {value}"
        )
    return Decimal((sign, digits + (0,) * max(shift, 0), -type_.scale))


def read_decimal(text: str, type_: t.Decimal) -> Decimal:
    """Read a decimal number that fits `type_` without rounding."""
    if not _DECIMAL.fullmatch(text):
        raise SerdeError(f'Not a decimal number: "{text}"')
    try:
        return fit_decimal(Decimal(text), type_)
    except InvalidOperation:
        raise SerdeError(f'Not a decimal number: "{text}"') from None


def read_base64(text: str) -> bytes:
    """Read base64 with its padding."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SerdeError(f'Not base64: "{text}"') from None


def decimal_text(type_: t.Decimal) -> Callable[[Decimal], str]:
    """Return the writer of plain decimal text with exactly the scale of `type_`."""
    spec = f".{type_.scale}f"
    return lambda v: format(v, spec)


def base64_text(value: bytes) -> str:
    """Return base64 with padding."""
    return base64.b64encode(value).decode("ascii")


def text_reader(type_: t.DataType) -> Callable[[str], Any]:
    """Return the reader of one scalar type from text, as DELIMITED has it."""
    match t.storage_type(type_):
        case t.Decimal() as decimal:
            return lambda text: read_decimal(text, decimal)
        case t.Primitive("STRING"):
            return str
        case t.Primitive("BYTES"):
            return read_base64
        case t.Primitive("BOOLEAN"):
            return lambda text: text.lower() == "true"
        case t.Primitive("DOUBLE"):
            return read_double
        case plain:
            bounds = INTEGER_BOUNDS[str(plain)]
            return lambda text: read_integer(text, bounds)


def text_writer(type_: t.DataType) -> Callable[[Any], str]:
    """Return the writer of one scalar type as text, as DELIMITED has it."""
    match t.storage_type(type_):
        case t.Decimal() as decimal:
            return decimal_text(decimal)
        case t.Primitive("BYTES"):
            return base64_text
        case t.Primitive("BOOLEAN"):
            return lambda v: "true" if v else "false"
        case t.Primitive("DOUBLE"):
            return double_text
        case _:
            return str
