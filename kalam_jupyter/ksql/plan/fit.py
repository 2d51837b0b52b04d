"""INSERT INTO .. SELECT: the result of a query made to fit the columns of its sink."""

from __future__ import annotations

from dataclasses import replace

from kalam_jupyter.engine.types import Column, DataType, Decimal, Schema
from kalam_jupyter.ksql.analysis.layout import Layout, named
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.expressions.bound import Bound, Constant, Conversion
from kalam_jupyter.ksql.lang.format import format_schema
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.values.convert import cast_function
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.numbers import numeric_rank


def fitted(plan: QueryPlan, sink: Source) -> QueryPlan:
    """Return the plan with result columns of exactly the sink's types.

    A DECIMAL that is narrower in both integer and fraction digits is rescaled, and a numeric literal is
    converted to the sink's DECIMAL. Names, order and all other types have to be the sink's already.

    Raises
    ------
    StatementError
        If the result does not fit.
    """
    result, target = plan.schema.columns, sink.schema.columns
    expressions = dict(plan.root.select)
    if len(result) != len(target):
        raise _incompatible(plan, sink)
    select = []
    for column, wanted in zip(result, target, strict=True):
        if (column.name, column.key) != (wanted.name, wanted.key):
            raise _incompatible(plan, sink)
        if column.key:
            if not _holds(wanted.type, column.type):
                raise _incompatible(plan, sink)
            continue
        e = _converted(expressions[column.name], wanted.type)
        if e is None:
            raise _incompatible(plan, sink)
        select.append((column.name, e))
    values = tuple(Column(name, e.known_type) for name, e in select)
    root = replace(plan.root, select=tuple(select), layout=Layout(named(values)))
    return replace(plan, root=root, schema=Schema((*plan.schema.key, *values)))


def _holds(wanted: DataType, given: DataType) -> bool:
    match given, wanted:
        case Decimal(p, s), Decimal(wanted_p, wanted_s):
            return s <= wanted_s and p - s <= wanted_p - wanted_s
    return given == wanted


def _converted(e: Bound, wanted: DataType) -> Bound | None:
    if e.type == wanted:
        return e
    assert e.type is not None
    literal = isinstance(e, Constant) and numeric_rank(e.type) is not None
    if literal and isinstance(wanted, Decimal):
        assert isinstance(e, Constant)
        try:
            return Constant(cast_function(e.type, wanted)(e.value), type=wanted)
        except EvaluationError:
            return None
    if not _holds(wanted, e.type):
        return None
    return Conversion(operand=e, function=cast_function(e.type, wanted), contains=False, type=wanted)


def _incompatible(plan: QueryPlan, sink: Source) -> StatementError:
    return StatementError(
        "Incompatible schema between results and sink.\n"
        f"Result schema is {format_schema(plan.schema.columns)}\n"
        f"Sink schema is {format_schema(sink.schema.columns)}"
    )
