"""Whether what came out is what a case expects (section 4.2 of the conformance contract).

One thing is known about the case files: their numbers have been through binary doubles, so that 12.30 stands
there as 12.3, 10.0000 as 10.0, and at most 17 digits are left. A float literal that is the shortest text of
a double therefore stands for every decimal that rounds to this double; any other one (1.20, 10.30) is exact.

Actual values: None, bool, int, str, bytes, list, dict; Decimal where the number is exact (every float token
of a JSON topic), float where it is a DOUBLE of a typed format and the tolerance applies.
"""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

from kalam_jupyter.ksql.testing.records import exact_json

TOLERANCE = 1e-6
_MISSING = object()


def difference(expected: Any, actual: Any, path: str = "") -> str | None:
    """Return what is different first, None if nothing is."""
    if isinstance(expected, list):
        return _list_difference(expected, actual, path)
    if isinstance(expected, dict):
        return _object_difference(expected, actual, path)
    if scalar_matches(expected, actual):
        return None
    return f"{path or 'value'}: expected {show(expected)}, got {show(actual)}"


def _list_difference(expected: list[Any], actual: Any, path: str) -> str | None:
    if not isinstance(actual, list) or len(actual) != len(expected):
        return f"{path or 'value'}: expected {show(expected)}, got {show(actual)}"
    found = (difference(e, a, f"{path}[{i}]") for i, (e, a) in enumerate(zip(expected, actual, strict=True)))
    return next((f for f in found if f is not None), None)


def _object_difference(expected: dict[str, Any], actual: Any, path: str) -> str | None:
    if not isinstance(actual, dict) or len(actual) != len(expected):
        return f"{path or 'value'}: expected {show(expected)}, got {show(actual)}"
    for name, item in expected.items():
        found = actual.get(name)
        if found is None:
            found = actual.get(name.upper())
        wrong = difference(item, found, f"{path}.{name}")
        if wrong is not None:
            return wrong
    return None


def scalar_matches(expected: Any, actual: Any) -> bool:
    """Compare one scalar by the rule of the expected one's kind."""
    if expected is None:
        return actual is None
    if isinstance(expected, bool):
        return actual is expected
    if isinstance(expected, str):
        return _text_matches(expected, actual)
    if isinstance(actual, bool) or actual is None:
        return False
    if isinstance(actual, float):
        return abs(actual - float(expected)) < TOLERANCE
    if isinstance(expected, int):
        return _integer_matches(expected, actual)
    return _float_matches(expected, actual)


def _text_matches(expected: str, actual: Any) -> bool:
    if isinstance(actual, Decimal):
        try:
            return same_decimal(Decimal(expected), actual)
        except ArithmeticError:
            return False
    if isinstance(actual, bytes):
        return base64.b64encode(actual).decode() == expected
    if isinstance(actual, float):
        return expected == {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(actual), "")
    return isinstance(actual, str) and actual == expected


def _integer_matches(expected: int, actual: Any) -> bool:
    if isinstance(actual, Decimal):
        return actual.is_finite() and actual.as_tuple().exponent >= 0 and actual == expected  # type: ignore[operator]
    return isinstance(actual, int) and actual == expected and -(2**63) <= actual < 2**63


def _float_matches(expected: Decimal, actual: Any) -> bool:
    if isinstance(actual, Decimal):
        return same_decimal(expected, actual) or _same_double(expected, actual)
    return isinstance(actual, int) and int(expected) == actual


def _same_double(expected: Decimal, actual: Decimal) -> bool:
    """Whether `actual`, as a double, would have been printed as this literal."""
    shortest = Decimal(repr(float(expected)))
    return same_decimal(expected, shortest) and float(actual) == float(expected)


def same_decimal(a: Decimal, b: Decimal) -> bool:
    """Whether two decimals have the same value and the same scale; zero has no sign."""
    return a == b and a.as_tuple().exponent == b.as_tuple().exponent


def show(value: Any) -> str:
    """Return a value for a report, as JSON where it is any, cut where it gets long."""
    try:
        text = exact_json(value)
    except TypeError:
        text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
