"""Bound expressions over Arrow columns: the part of them for which that means the same as the row form.

A batch that could make an expression fail (arithmetic with a NULL, for example) is refused with
`NotColumnarError` before anything was
done; the row form then does it, and reports the failures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, STRING, to_arrow
from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.operators.column_batch import ColumnBatch, NotColumnarError

Evaluate = Callable[[ColumnBatch], Any]

_NUMBERS = (INTEGER, BIGINT, DOUBLE)


def compile_columnar(e: b.Bound) -> Evaluate | None:
    """Return a function from a column batch to an array (or scalar); None if the row form must do it."""
    found = _COMPILE.get(type(e))
    return None if found is None else found(e)


def compile_column(e: b.Bound) -> Callable[[ColumnBatch], pa.Array] | None:
    """As `compile_columnar`; always gives an array of the expression's type."""
    evaluate = compile_columnar(e)
    if evaluate is None or e.type is None:
        return None
    arrow = e.type.arrow

    def column(batch: ColumnBatch) -> pa.Array:
        value = evaluate(batch)
        if isinstance(value, pa.Scalar):
            value = pa.repeat(value, batch.num_rows)
        if isinstance(value, pa.ChunkedArray):
            value = value.combine_chunks()
        return value if value.type == arrow else value.cast(arrow, safe=False)

    return column


def compile_mask(e: b.Bound) -> Evaluate | None:
    """As `compile_columnar`, for predicates: true where the predicate is."""
    evaluate = compile_columnar(e)
    if evaluate is None or e.total:
        return evaluate
    return lambda batch: _fill(evaluate(batch))


def _fill(value: Any) -> Any:
    return pc.fill_null(value, False)


def _constant(e: b.Constant) -> Evaluate | None:
    if e.type is None:
        return None
    scalar = to_arrow([e.value], e.type)[0]
    return lambda batch: scalar


def _column(e: b.ColumnValue) -> Evaluate:
    position = e.index
    return lambda batch: batch.column(position)


_ARITHMETIC = {"+": pc.add, "-": pc.subtract, "*": pc.multiply}


def _arithmetic(e: b.ArithmeticOp) -> Evaluate | None:
    left, right = compile_columnar(e.left), compile_columnar(e.right)
    function = _ARITHMETIC.get(e.operator)
    if left is None or right is None or function is None or e.function is not None or e.type not in _NUMBERS:
        return None
    arrow = e.type.arrow

    def evaluate(batch: ColumnBatch) -> Any:
        a, c = left(batch), right(batch)
        if a.null_count if isinstance(a, pa.Array) else not a.is_valid:
            raise NotColumnarError
        if c.null_count if isinstance(c, pa.Array) else not c.is_valid:
            raise NotColumnarError
        return function(a.cast(arrow, safe=False), c.cast(arrow, safe=False))

    return evaluate


_COMPARE = {
    "=": pc.equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def _compare(e: b.CompareOp) -> Evaluate | None:
    plain = (b.as_double(e.left, e.right), b.as_double(e.right, e.left))
    left, right = map(compile_columnar, plain)
    types = {x.type for x in plain}
    numbers = types <= {INTEGER, BIGINT} or types <= {INTEGER, DOUBLE}
    texts = (types == {STRING} or types == {BOOLEAN}) and e.operator in ("=", "<>")
    changed = plain != (e.left, e.right)
    if left is None or right is None or not (numbers or texts) or (e.function is not None and not changed):
        return None
    function = _COMPARE[e.operator]
    if changed:
        left, right = _finite(left), _finite(right)
    return lambda batch: _fill(function(left(batch), right(batch)))


def _finite(evaluate: Evaluate) -> Evaluate:
    """Refuse batches with infinities and NaN: they have no decimal form to compare with a DECIMAL."""

    def finite(batch: ColumnBatch) -> Any:
        value = evaluate(batch)
        if isinstance(value, pa.Array | pa.ChunkedArray) and pc.all(pc.is_finite(value)).as_py() is False:
            raise NotColumnarError
        return value

    return finite


def _logic(e: b.Logic) -> Evaluate | None:
    left, right = compile_columnar(e.left), compile_columnar(e.right)
    # A NULL operand is a failure, and the right side of a decided AND or OR must not be evaluated.
    if left is None or right is None or not e.left.total or not e.right.total or _may_refuse(e.right):
        return None
    function = pc.and_ if e.operator == "AND" else pc.or_
    return lambda batch: function(left(batch), right(batch))


def _may_refuse(e: b.Bound) -> bool:
    return any(isinstance(x, b.ArithmeticOp | b.Call) for x in e.walk())


def _not(e: b.NotOp) -> Evaluate | None:
    operand = compile_columnar(e.operand)
    if operand is None or not e.operand.total:
        return None
    return lambda batch: pc.invert(operand(batch))


def _null_test(e: b.NullTest) -> Evaluate | None:
    operand = compile_columnar(e.operand)
    if operand is None or _may_refuse(e.operand):
        return None
    function = pc.is_valid if e.negated else _is_null
    return lambda batch: function(operand(batch))


def _is_null(value: Any) -> Any:
    return pc.is_null(value)


def _membership(e: b.Membership) -> Evaluate | None:
    operand = compile_columnar(e.operand)
    type_ = e.operand.type
    if operand is None or type_ not in (INTEGER, BIGINT, STRING):
        return None
    if not all(isinstance(i, b.Constant) for i in e.items):
        return None
    values = [i.value for i in e.items if isinstance(i, b.Constant) and i.value is not None]
    if type_ == STRING:
        items = to_arrow(values, type_)
        return lambda batch: _fill(pc.is_in(operand(batch), value_set=items))
    numbers = to_arrow(values, BIGINT)
    return lambda batch: _fill(pc.is_in(operand(batch).cast(pa.int64()), value_set=numbers))


_COMPILE: dict[type, Callable[[Any], Evaluate | None]] = {
    b.Constant: _constant,
    b.ColumnValue: _column,
    b.ArithmeticOp: _arithmetic,
    b.CompareOp: _compare,
    b.Logic: _logic,
    b.NotOp: _not,
    b.NullTest: _null_test,
    b.Membership: _membership,
}
