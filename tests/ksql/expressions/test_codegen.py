"""Generated code means what the functions mean that it goes round."""

from __future__ import annotations

import warnings
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.expressions.codegen import compile_raising
from kalam_jupyter.ksql.values.compare import comparison_function
from kalam_jupyter.ksql.values.errors import EvaluationError

TYPE = t.Decimal(38, 6)
LITERALS = st.decimals(-1000, 1000, places=6) | st.sampled_from(
    [Decimal("0.1"), Decimal("0"), Decimal("0.5")]
)


def outcome(call: Any) -> Any:
    try:
        return call()
    except EvaluationError as error:
        return str(error)


@given(
    operator=st.sampled_from(["=", "<>", "<", "<=", ">", ">="]),
    literal=LITERALS,
    value=st.none() | st.floats(),
    near=st.booleans(),
    swapped=st.booleans(),
)
def test_a_double_compares_with_a_decimal_literal_as_its_shortest_decimal_does(
    operator: str, literal: Decimal, value: float | None, near: bool, swapped: bool
) -> None:
    value = float(literal) if near else value
    sides = (b.Constant(type=TYPE, value=literal), b.ColumnValue(type=t.DOUBLE, name="V", index=0))
    left, right = sides if swapped else sides[::-1]
    compare = comparison_function(operator, left.type, right.type, "a", "b")
    assert compare is not None
    found = compile_raising(b.CompareOp(operator=operator, left=left, right=right, function=compare))
    values = (literal, value) if swapped else (value, literal)
    expected = False if value is None else outcome(lambda: compare(*values))
    assert outcome(lambda: found((value,))) == expected


ONE = b.Constant(type=t.INTEGER, value=1)


@pytest.mark.parametrize(
    "operand",
    [ONE, b.Negation(type=t.INTEGER, operand=ONE), b.StructOf(type=None, items=(ONE,))],
    ids=lambda e: type(e).__name__,
)
def test_python_does_not_warn_of_literals_that_are_tested_for_null(operand: b.Bound) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compile_raising(b.NullTest(operand=operand, negated=False))(()) is False
