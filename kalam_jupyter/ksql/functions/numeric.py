"""Numeric functions (function contract section 2)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.definitions import Binding, EvaluationContext
from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values import numbers as n
from kalam_jupyter.ksql.values.compare import greater_function
from kalam_jupyter.ksql.values.errors import EvaluationError

functions = Library("NUMERIC")
Types = tuple[t.DataType | None, ...]


def _each(name: str, result: str, parameter: str = "x") -> tuple[str, ...]:
    return tuple(f"{name}({parameter} {type_}) -> {result}" for type_ in ("INT", "BIGINT", "DOUBLE"))


def _pairs(name: str, first: str, second: str) -> tuple[str, ...]:
    return tuple(f"{name}({first} {x}, {second} {x}) -> DOUBLE" for x in ("INT", "BIGINT", "DOUBLE"))


def _same(types: Types) -> t.DataType | None:
    return types[0]


def _integer_part(types: Types) -> t.DataType:
    type_ = types[0]
    assert isinstance(type_, t.Decimal)
    if type_.precision == type_.scale:
        raise KsqlError(f"DECIMAL precision must be >= 1: {type_} has no integer digits")
    return t.Decimal(type_.precision - type_.scale, 0)


def _kernel(name: str) -> Callable[[pa.Array], pa.Array]:
    return lambda array: pc.call_function(name, [array])


def _double_kernel(name: str) -> Callable[[pa.Array], pa.Array]:
    return lambda array: pc.call_function(name, [array.cast(pa.float64(), safe=False)])


@functions.scalar(
    "abs(x INT) -> INT", columnar=_kernel("abs"), examples=[("ABS(-5)", "5"), ("ABS(-1.50)", "1.50")]
)
def abs_int(x: int) -> int:
    """Absolute value. The smallest integer has none and stays as it is; NULL gives NULL."""
    return n.wrap_int(abs(x))


@functions.scalar("abs(x BIGINT) -> BIGINT", columnar=_kernel("abs"))
def abs_long(x: int) -> int:
    """Absolute value. The smallest integer has none and stays as it is; NULL gives NULL."""
    return n.wrap_long(abs(x))


@functions.scalar("abs(x DOUBLE) -> DOUBLE", columnar=_kernel("abs"))
def abs_double(x: float) -> float:
    """Absolute value."""
    return abs(x)


@functions.scalar("abs(x DECIMAL)", returns=_same)
def abs_decimal(x: Decimal) -> Decimal:
    """Absolute value, in the argument's type."""
    return x.copy_abs()


@functions.scalar("ceil(x INT) -> INT", "ceil(x BIGINT) -> BIGINT", examples=[("CEIL(1.3)", "2.0")])
def ceil(x: int) -> int:
    """Smallest whole number not below the argument, in the argument's type (decimals keep their scale)."""
    return x


@functions.scalar("floor(x INT) -> INT", "floor(x BIGINT) -> BIGINT", examples=[("FLOOR(-1.2)", "-2.0")])
def floor(x: int) -> int:
    """Largest whole number not above the argument, in the argument's type (decimals keep their scale)."""
    return x


def _whole(x: float, to_int: Callable[[float], int]) -> float:
    return math.copysign(float(to_int(x)), x) if math.isfinite(x) else x


@functions.scalar("ceil(x DOUBLE) -> DOUBLE", columnar=_kernel("ceil"))
def ceil_double(x: float) -> float:
    """Smallest whole number not below the argument."""
    return _whole(x, math.ceil)


@functions.scalar("floor(x DOUBLE) -> DOUBLE", columnar=_kernel("floor"))
def floor_double(x: float) -> float:
    """Largest whole number not above the argument."""
    return _whole(x, math.floor)


def _round_decimal(x: Decimal, digits: int, rounding: str) -> Decimal:
    return n.rescaled(x, digits, rounding=rounding)


def _half_up(x: Decimal, digits: int) -> Decimal:
    """Round halves toward plus infinity."""
    return _round_decimal(x, digits, ROUND_HALF_UP if x >= 0 else ROUND_HALF_DOWN)


def _keep_scale(binding: Binding, rounding: str) -> Callable[[Decimal], Decimal]:
    assert isinstance(binding.result, t.Decimal)
    scale = binding.result.scale
    return lambda x: n.rescaled(_round_decimal(x, 0, rounding), scale)


@functions.scalar("ceil(x DECIMAL)", returns=_same, specialize=True)
def ceil_decimal(binding: Binding) -> Callable[[Decimal], Decimal]:
    """Smallest whole number not below the argument, with the argument's scale."""
    return _keep_scale(binding, ROUND_CEILING)


@functions.scalar("floor(x DECIMAL)", returns=_same, specialize=True)
def floor_decimal(binding: Binding) -> Callable[[Decimal], Decimal]:
    """Largest whole number not above the argument, with the argument's scale."""
    return _keep_scale(binding, ROUND_FLOOR)


@functions.scalar(
    "round(x INT) -> BIGINT",
    "round(x BIGINT) -> BIGINT",
    examples=[("ROUND(1.5E0)", "2"), ("ROUND(-1.5E0)", "-1"), ("ROUND(-1.56E0, 1)", "-1.6")],
)
def round_integer(x: int) -> int:
    """Nearest whole number as BIGINT, halves toward plus infinity; with a second argument, that many
    decimals.

    A DECIMAL(p, s) gives DECIMAL(p-s, 0), or its own type with a second argument. `decimals` may be negative.
    """
    return x


@functions.scalar("round(x DOUBLE) -> BIGINT")
def round_double(x: float) -> int:
    """Nearest whole number, halves toward plus infinity, held at the limits of BIGINT; NaN gives 0."""
    if not -9.3e18 < x < 9.3e18:
        return n.saturate_long(x)
    low = math.floor(x)
    return min(max(low + 1 if x - low >= 0.5 else low, n.MIN_LONG), n.MAX_LONG)


@functions.scalar("round(x DECIMAL)", returns=_integer_part)
def round_decimal(x: Decimal) -> Decimal:
    """Nearest whole number, halves toward plus infinity."""
    return _half_up(x, 0)


@functions.scalar("round(x DOUBLE, decimals INT) -> DOUBLE")
def round_double_to(x: float, decimals: int) -> float:
    """Round the shortest decimal text of a DOUBLE, halves toward plus infinity; NaN and infinities fail."""
    return float(_half_up(n.shortest_decimal(x), decimals))


def _rescaled(
    binding: Binding, rounding: Callable[[Decimal, int], Decimal]
) -> Callable[[Decimal, int], Decimal]:
    assert isinstance(binding.result, t.Decimal)
    scale = binding.result.scale
    return lambda x, decimals: x if decimals >= scale else n.rescaled(rounding(x, decimals), scale)


@functions.scalar("round(x DECIMAL, decimals INT)", returns=_same, specialize=True)
def round_decimal_to(binding: Binding) -> Callable[[Decimal, int], Decimal]:
    """Round to `decimals` places, halves toward plus infinity, and keep the scale."""
    return _rescaled(binding, _half_up)


@functions.scalar("trunc(x INT) -> BIGINT", "trunc(x BIGINT) -> BIGINT", examples=[("TRUNC(-1.99E0)", "-1")])
def trunc_integer(x: int) -> int:
    """Whole number toward zero as BIGINT; with a second argument, that many decimals are kept.

    A DECIMAL(p, s) gives DECIMAL(p-s, 0), or its own type with a second argument. `decimals` may be negative.
    """
    return x


def _down(x: Decimal, digits: int) -> Decimal:
    return _round_decimal(x, digits, ROUND_DOWN)


@functions.scalar("trunc(x DOUBLE) -> BIGINT")
def trunc_double(x: float) -> int:
    """Whole number toward zero, held at the limits of BIGINT; NaN gives 0."""
    return n.saturate_long(x)


@functions.scalar("trunc(x DECIMAL)", returns=_integer_part)
def trunc_decimal(x: Decimal) -> Decimal:
    """Whole number toward zero."""
    return _down(x, 0)


@functions.scalar("trunc(x DOUBLE, decimals INT) -> DOUBLE")
def trunc_double_to(x: float, decimals: int) -> float:
    """Cut the shortest decimal text of a DOUBLE after `decimals` places; NaN and infinities fail."""
    return float(_down(n.shortest_decimal(x), decimals))


@functions.scalar("trunc(x DECIMAL, decimals INT)", returns=_same, specialize=True)
def trunc_decimal_to(binding: Binding) -> Callable[[Decimal, int], Decimal]:
    """Cut after `decimals` places and keep the scale."""
    return _rescaled(binding, _down)


@functions.scalar(*_each("sign", "INT"), examples=[("SIGN(-3)", "-1")])
def sign(x: float) -> int:
    """-1, 0 or 1; NaN gives 0."""
    return (x > 0) - (x < 0)


@functions.scalar(*_each("sqrt", "DOUBLE"), columnar=_double_kernel("sqrt"), examples=[("SQRT(16)", "4.0")])
def sqrt(x: float) -> float:
    """Square root; NaN for a negative number."""
    return math.sqrt(x) if x >= 0 else math.nan


@functions.scalar(*_each("cbrt", "DOUBLE"), examples=[("CBRT(27)", "3.0")])
def cbrt(x: float) -> float:
    """Cube root."""
    root = math.cbrt(x)
    # C libraries are one unit off for some cubes, Java is not: one step of Newton's method
    return root - (root * root * root - x) / (3 * root * root) if root and math.isfinite(root) else root


@functions.scalar(*_each("exp", "DOUBLE"), examples=[("EXP(0)", "1.0")])
def exp(x: float) -> float:
    """e to the power of the argument; Infinity where that is too large."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


@functions.scalar(*_each("ln", "DOUBLE"), examples=[("LN(1)", "0.0")])
def ln(x: float) -> float:
    """Natural logarithm; -Infinity for 0, NaN for a negative number."""
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


functions.scalar(*_each("log", "DOUBLE"), examples=[("LOG(1)", "0.0"), ("LOG(2, 8)", "3.0")])(ln)


@functions.scalar(*_pairs("log", "base", "x"))
def log(base: float, x: float) -> float:
    """Logarithm to a base; NaN for a base that is not positive or is 1. With one argument the natural
    logarithm.
    """
    if base <= 0 or base == 1:
        return math.nan
    return ln(x) / ln(base)


@functions.scalar(*_pairs("power", "base", "exponent"), examples=[("POWER(2, 10)", "1024.0")])
def power(base: float, exponent: float) -> float:
    """`base` to the power of `exponent`, a DOUBLE always."""
    x, y = float(base), float(exponent)
    if y == 0:
        return 1.0
    if abs(x) == 1 and not math.isfinite(y):
        return math.nan
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        if x != 0:
            return math.nan
        return math.copysign(math.inf, x) if y % 2 == 1 else math.inf


@functions.scalar("pi() -> DOUBLE", examples=[("PI()", "3.141592653589793")])
def pi() -> float:
    """The number pi."""
    return math.pi


@functions.scalar("random() -> DOUBLE", context=True)
def random(context: EvaluationContext) -> float:
    """A uniform random number, at least 0 and below 1."""
    return context.random.random()


def _total(function: Callable[[float], float]) -> Callable[[Any], float]:
    """A function of Python's math as Java has it: NaN outside the domain, infinities instead of errors."""

    def call(x: Any) -> float:
        try:
            return function(x)
        except ValueError:
            return math.nan
        except OverflowError:
            return math.copysign(math.inf, x)

    return call


def _cot(x: float) -> float:
    tangent = math.tan(x)
    return 1 / tangent if tangent else math.copysign(math.inf, tangent)


def _radians(x: float) -> float:
    # the order of Java 8's Math.toRadians, which shows in the last digit
    return x / 180 * math.pi


def _cosh(x: float) -> float:
    try:
        return math.cosh(x)
    except OverflowError:
        return math.inf


_RADIANS: tuple[tuple[str, Callable[[float], float], str, str], ...] = (
    ("sin", math.sin, "Sine of an angle in radians.", "0.0"),
    ("cos", math.cos, "Cosine of an angle in radians.", "1.0"),
    ("tan", math.tan, "Tangent of an angle in radians.", "0.0"),
    ("cot", _cot, "Cotangent of an angle in radians; Infinity at 0.", "Infinity"),
    ("sinh", math.sinh, "Hyperbolic sine.", "0.0"),
    ("cosh", _cosh, "Hyperbolic cosine.", "1.0"),
    ("tanh", math.tanh, "Hyperbolic tangent.", "0.0"),
    ("asin", math.asin, "Angle in radians whose sine is the argument; NaN outside -1 to 1.", "0.0"),
    ("atan", math.atan, "Angle in radians whose tangent is the argument.", "0.0"),
    ("degrees", lambda x: x * 180 / math.pi, "Radians as degrees.", "0.0"),
    ("radians", _radians, "Degrees as radians.", "0.0"),
    ("acos", math.acos, "Angle in radians whose cosine is the argument; NaN outside -1 to 1.", ""),
)
for _name, _function, _text, _at_zero in _RADIANS:
    _wrapped = _total(_function)
    _wrapped.__doc__ = _text
    _examples = [(f"{_name.upper()}(0)", _at_zero)] if _at_zero else [(f"{_name.upper()}(1)", "0.0")]
    functions.scalar(*_each(_name, "DOUBLE"), examples=_examples)(_wrapped)


@functions.scalar(*_pairs("atan2", "y", "x"), examples=[("ATAN2(0, 1)", "0.0")])
def atan2(y: float, x: float) -> float:
    """Angle in radians of the point (x, y)."""
    return math.atan2(y, x)


_COMPARABLE = ("INT", "BIGINT", "DOUBLE", "STRING", "BYTES", "DATE", "TIME", "TIMESTAMP")


def _widest(types: Types) -> t.DataType | None:
    decimals = [x for x in types if isinstance(x, t.Decimal)]
    return functools.reduce(n.wider_decimal, decimals)


def _extreme(
    binding: Binding, keep: Callable[[Callable[[Any, Any], bool], Any, Any], bool]
) -> Callable[..., Any]:
    assert binding.result is not None
    greater = greater_function(binding.result)

    def call(*values: Any) -> Any:
        best = None
        for value in values:
            if value is not None and (best is None or keep(greater, value, best)):
                best = value
        return best

    return call


def _overloads(name: str) -> tuple[str, ...]:
    return tuple(f"{name}(first {x}, rest {x}...) -> {x}" for x in _COMPARABLE)


def greatest(binding: Binding) -> Callable[..., Any]:
    """Largest of the arguments, NULLs ignored; NULL if all are.

    All have one type. Decimals may differ: the result is the narrowest DECIMAL that holds every argument.
    Strings order by UTF-16 code unit, BYTES by signed byte.
    """
    return _extreme(binding, lambda greater, value, best: greater(value, best))


def least(binding: Binding) -> Callable[..., Any]:
    """Smallest of the arguments, NULLs ignored; NULL if all are.

    All have one type. Decimals may differ: the result is the narrowest DECIMAL that holds every argument.
    Strings order by UTF-16 code unit, BYTES by signed byte.
    """
    return _extreme(binding, lambda greater, value, best: greater(best, value))


for _factory, _example in ((greatest, ("GREATEST(1, 3, NULL)", "3")), (least, ("LEAST(1, 3, NULL)", "1"))):
    functions.scalar(*_overloads(_factory.__name__), nulls=True, specialize=True, examples=[_example])(
        _factory
    )
    functions.scalar(
        f"{_factory.__name__}(first DECIMAL, rest DECIMAL...)", returns=_widest, nulls=True, specialize=True
    )(_factory)

_EARTH_RADIUS = {
    **dict.fromkeys(("mi", "mile", "miles"), 3959.0),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres", ""), 6371.0),
}


@functions.scalar(
    "geo_distance(lat1 DOUBLE, lon1 DOUBLE, lat2 DOUBLE, lon2 DOUBLE) -> DOUBLE",
    "geo_distance(lat1 DOUBLE, lon1 DOUBLE, lat2 DOUBLE, lon2 DOUBLE, unit STRING) -> DOUBLE",
    nulls=True,
    examples=[("ROUND(GEO_DISTANCE(37.4439, -122.1663, 51.5257, -0.1122), 4)", "8634.6598")],
)
def geo_distance(lat1: Any, lon1: Any, lat2: Any, lon2: Any, unit: str | None = None) -> float | None:
    """Great-circle distance of two points in degrees, in kilometres or (``'miles'``) miles.

    Latitudes beyond 90, longitudes beyond 180 degrees and unknown units fail; a NULL coordinate gives NULL.
    """
    if lat1 is None or lon1 is None or lat2 is None or lon2 is None:
        return None
    radius = _EARTH_RADIUS.get((unit or "").strip().lower())
    if radius is None:
        raise EvaluationError(f"GEO_DISTANCE unit must be one of {list(_EARTH_RADIUS)[:-1]}, not '{unit}'")
    if abs(lat1) > 90 or abs(lat2) > 90 or abs(lon1) > 180 or abs(lon2) > 180:
        raise EvaluationError("GEO_DISTANCE takes latitudes of -90 to 90 and longitudes of -180 to 180")
    phi1, phi2 = _radians(lat1), _radians(lat2)
    dphi, dlambda = math.sin(_radians(lat2 - lat1) / 2), math.sin(_radians(lon2 - lon1) / 2)
    h = dphi * dphi + dlambda * dlambda * math.cos(phi1) * math.cos(phi2)
    return 2 * radius * math.asin(math.sqrt(h))
