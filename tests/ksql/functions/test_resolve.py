"""Which overload is chosen, and what is said when none is."""

from __future__ import annotations

import re

import pytest

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.registry import FunctionRegistry, Library
from kalam_jupyter.ksql.functions.resolve import LambdaArgument
from kalam_jupyter.ksql.functions.signature import INTERVAL, parse_signature
from kalam_jupyter.ksql.values.coerce import Operand
from kalam_jupyter.ksql.values.convert import identity
from tests.ksql.functions.evaluate import REGISTRY, type_of

DECIMAL = t.Decimal(5, 2)


def test_an_exact_overload_wins_over_a_widened_one() -> None:
    assert REGISTRY.scalar("abs", [t.INTEGER]).type == t.INTEGER
    assert REGISTRY.scalar("ABS", [DECIMAL]).type == DECIMAL


def test_arguments_widen_when_nothing_fits_exactly() -> None:
    call = REGISTRY.scalar("GEO_DISTANCE", [DECIMAL, t.INTEGER, t.DOUBLE, t.DOUBLE])
    assert call.types == (t.DOUBLE,) * 4
    assert call.conversions[3] is identity
    assert call.conversions[1](3) == 3.0


def test_a_text_is_taken_as_a_date_where_a_date_is_wanted() -> None:
    call = REGISTRY.scalar("LEAST", [t.DATE, t.DATE, t.STRING])
    assert call.type == t.DATE
    assert call.conversions[2]("1970-01-03") == 2


AMBIGUOUS = "Function '{}' cannot be resolved due to ambiguous method parameters ({})."
REFUSED = "Function '{}' does not accept parameters ({})."
ERRORS = [
    ("GREATEST", [t.INTEGER, t.BIGINT], AMBIGUOUS.format("greatest", "INTEGER, BIGINT")),
    ("LEAST", [None, None], AMBIGUOUS.format("least", "null, null")),
    (
        "LEAST",
        [t.STRING, t.INTEGER],
        REFUSED.format("least", "STRING, INTEGER")
        + "\nValid alternatives are:\nleast(INTEGER first, INTEGER... rest)",
    ),
    ("GREATEST", [], REFUSED.format("greatest", "")),
    ("COALESCE", [], REFUSED.format("COALESCE", "")),
    ("TIMEADD", [t.TIME, t.INTEGER, t.TIME], REFUSED.format("timeadd", "TIME, INTEGER, TIME")),
    (
        "EXPLODE",
        [t.Map(t.STRING, t.INTEGER)],
        REFUSED.format("explode", "MAP<STRING, INTEGER>")
        + "\nValid alternatives are:\nexplode(ARRAY<DECIMAL> input)\nexplode(ARRAY<T> list)",
    ),
    ("WONT_FIND_ME", [], "Can't find any functions with the name 'WONT_FIND_ME'"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), ERRORS)
def test_a_call_that_no_overload_takes_says_so(
    name: str, arguments: list[t.DataType | None], message: str
) -> None:
    with pytest.raises(KsqlError, match=re.escape(message)):
        REGISTRY.scalar(name, arguments)


def test_a_generic_is_one_type_in_all_its_places() -> None:
    assert REGISTRY.scalar("IFNULL", [None, t.STRING]).type == t.STRING
    with pytest.raises(KsqlError, match="does not accept parameters"):
        REGISTRY.scalar("IFNULL", [t.STRING, t.INTEGER])
    assert REGISTRY.scalar("ARRAY_UNION", [t.Array(t.BIGINT)] * 2).type == t.Array(t.BIGINT)


def test_lambda_parameters_get_the_types_of_the_collection() -> None:
    seen: list[tuple[t.DataType, ...]] = []

    def body(types: tuple[t.DataType, ...]) -> t.DataType:
        seen.append(types)
        return t.STRING

    call = REGISTRY.scalar("TRANSFORM", [t.Array(t.DATE), LambdaArgument(1, body)])
    assert seen == [(t.DATE,)]
    assert call.type == t.Array(t.STRING)
    assert call.lambdas == (None, (t.DATE,))
    with pytest.raises(KsqlError, match=re.escape("(ARRAY<DATE>, LAMBDA)")):
        REGISTRY.scalar("FILTER", [t.Array(t.DATE), LambdaArgument(2, body)])


def test_result_types_are_computed_from_the_arguments() -> None:
    assert type_of("ROUND(12.345)") == t.Decimal(2, 0)
    assert type_of("ROUND(5)") == t.BIGINT
    assert type_of("TRUNC(12.345, 1)") == t.Decimal(5, 3)
    assert type_of("GREATEST(1234567.89, 0.123456)") == t.Decimal(13, 6)
    assert REGISTRY.scalar("DATEADD", [INTERVAL, t.INTEGER, t.DATE]).type == t.DATE
    with pytest.raises(KsqlError):
        REGISTRY.scalar("ROUND", [t.Decimal(2, 2)])


def test_a_variadic_parameter_may_stand_in_the_middle() -> None:
    signature = parse_signature("f(a BIGINT, b STRING..., literal c INT) -> BIGINT")
    for count, expected in ((1, None), (2, "ac"), (4, "abbc")):
        parameters = signature.expand(count)
        assert (parameters and "".join(p.name for p in parameters)) == expected


@pytest.mark.parametrize(
    "text", ["f(", "f(x)", "f(x INT", "f(x NOPE)", "f(x INT...) INT", "f(a INT..., b INT...)"]
)
def test_a_malformed_signature_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_signature(text)


def test_constants_of_aggregates_must_be_constants() -> None:
    message = "Parameter 2 passed to function EARLIEST_BY_OFFSET must be a literal constant, "
    message += "but was expression: 'F0'"
    with pytest.raises(KsqlError, match=re.escape(message)):
        REGISTRY.aggregate("EARLIEST_BY_OFFSET", [Operand(t.INTEGER, "F0"), Operand(t.INTEGER, "F0")])


def test_a_name_has_one_kind() -> None:
    library = Library("TEST")
    library.scalar("count(x INT) -> INT")(lambda x: x)
    with pytest.raises(ValueError, match="COUNT is AGGREGATE"):
        FunctionRegistry.builtin().add(library)
