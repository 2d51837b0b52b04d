"""The binder: AST expressions to bound expressions, over one layout of the flat row.

Names become positions, literals physical values, operators and functions Python callables, and every node
gets its type. What is wrong is said here, in the reference's words; the clause that an expression is in puts
its own words in front (`plan.predicates`). `constructors` and `calls` bind what has more than operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    INTEGER,
    STRING,
    Array,
    DataType,
    Map,
    Struct,
)
from kalam_jupyter.ksql.analysis.layout import Layout
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.expressions import bound as b
from kalam_jupyter.ksql.expressions import calls, constructors
from kalam_jupyter.ksql.expressions.coercion import magic_timestamp, membership_items
from kalam_jupyter.ksql.expressions.like import like, like_regex
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.registry import FunctionRegistry
from kalam_jupyter.ksql.functions.signature import INTERVAL_UNITS
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import ROWTIME, WINDOWEND, WINDOWSTART
from kalam_jupyter.ksql.values import arithmetic, compare, convert

TIME_COLUMNS = frozenset({ROWTIME, WINDOWSTART, WINDOWEND})


def type_text(type_: DataType | None) -> str:
    """Return a type as messages print it; an untyped NULL is ``null``."""
    return "null" if type_ is None else str(type_)


def identity_type(type_: DataType) -> DataType:
    """Return the type itself: where there are no custom types."""
    return type_


@dataclass(frozen=True)
class ErrorRules:
    """What two properties say of failures and NULLs within an expression.

    Attributes
    ----------
    contain : bool
        Whether a failing part becomes NULL where section 6 of the language contract says so; else it fails
        the whole expression (``ksql.nested.error.set.null``).
    keep_null : bool
        Whether CAST of NULL to STRING is NULL; else it is the text ``null``
        (``ksql.cast.strings.preserve.nulls``).
    """

    contain: bool = True
    keep_null: bool = True


class Binder:
    """Binds expressions over one layout.

    Parameters
    ----------
    layout : Layout
        The flat row; columns are looked up by the names it knows.
    functions : FunctionRegistry
    context : EvaluationContext
        What non-deterministic functions draw from.
    resolve_type : callable
        Replaces the names of custom types in a type.
    known : mapping of expression to column
        Expressions that earlier steps have computed: aggregates, group keys, results of table functions.
    rules : ErrorRules
    """

    def __init__(
        self,
        layout: Layout,
        functions: FunctionRegistry,
        context: EvaluationContext,
        resolve_type: Callable[[DataType], DataType] = identity_type,
        known: Mapping[ast.Expression, b.ColumnValue] = {},
        rules: ErrorRules = ErrorRules(),
    ) -> None:
        self.rules = rules
        self.layout = layout
        self.functions = functions
        self.context = context
        self._resolve_type = resolve_type
        self._known = known
        #: Types of the parameters of the lambdas that enclose what is being bound.
        self.lambda_types: dict[str, DataType | None] = {}

    def bind(self, e: ast.Expression) -> b.Bound:
        """Return `e` bound; `KsqlError` if it has no meaning."""
        if self._known:
            found = self._known.get(e)
            if found is not None:
                return found
        return _BIND[type(e)](self, e)

    def type_of(self, e: ast.Expression) -> DataType | None:
        """Return the type of `e`."""
        return self.bind(e).type

    # Leaves

    def _literal(self, e: ast.Literal) -> b.Bound:
        return b.Constant(type=e.type, value=e.value)

    def _column(self, e: ast.ColumnRef) -> b.Bound:
        found = self.layout.find(e.name)
        if found is None:
            raise StatementError(f"Unknown column {e.name}.", **e.position)
        return found

    def _lambda_variable(self, e: ast.LambdaVariable) -> b.Bound:
        return b.LambdaParameter(type=self.lambda_types[e.name], name=e.name)

    def _interval_unit(self, e: ast.IntervalUnit) -> b.Bound:
        unit = INTERVAL_UNITS.get(e.unit)
        if unit is None:
            raise StatementError(f"Unsupported interval unit: {e.unit}", **e.position)
        return b.Constant(type=None, value=unit)

    def _lambda(self, e: ast.Lambda) -> b.Bound:
        raise StatementError(f"No lambda is expected here: {e}", **e.position)

    # Operators

    def _arithmetic(self, e: ast.Arithmetic) -> b.Bound:
        left, right = self.bind(e.left), self.bind(e.right)
        try:
            type_ = arithmetic.arithmetic_type(e.op, left.type, right.type)
            assert left.type is not None and right.type is not None
            function = arithmetic.arithmetic_function(e.op, left.type, right.type)
        except KsqlError as error:
            raise StatementError(f"Error processing expression: {e}. {error.message}", **e.position) from None
        return b.ArithmeticOp(type=type_, operator=e.op, left=left, right=right, function=function)

    def _unary(self, e: ast.Unary) -> b.Bound:
        operand = self.bind(e.operand)
        if e.op == "+":
            return operand
        if operand.type is None:
            raise StatementError(f"Error processing expression: {e}. null is not a number.", **e.position)
        function = arithmetic.negation_function(operand.type)
        if isinstance(operand, b.Constant) and operand.value is not None:
            return b.Constant(type=operand.type, value=function(operand.value))
        return b.Call(type=operand.type, name="-", function=function, arguments=(operand,), contains=False)

    def _comparison(self, e: ast.Comparison) -> b.Bound:
        return self.compare(e.op, e.left, e.right)

    def compare(self, op: str, left_e: ast.Expression, right_e: ast.Expression) -> b.Bound:
        left, right = self._time_aware(left_e, right_e)
        function = self._comparator(op, left, right, left_e, right_e)
        return b.CompareOp(operator=op, left=left, right=right, function=function)

    def _comparator(
        self, op: str, left: b.Bound, right: b.Bound, left_e: ast.Expression, right_e: ast.Expression
    ) -> Callable[[Any, Any], bool] | None:
        try:
            return compare.comparison_function(op, left.type, right.type, str(left_e), str(right_e))
        except KsqlError as error:
            raise StatementError(error.message, **left_e.position) from None

    def _time_aware(self, left_e: ast.Expression, right_e: ast.Expression) -> tuple[b.Bound, b.Bound]:
        """Bind two operands; a string literal compared with ROWTIME or a window bound is a moment."""
        left, right = self.bind(left_e), self.bind(right_e)
        if _is_time(left) and _is_text(right):
            right = magic_timestamp(right)
        elif _is_time(right) and _is_text(left):
            left = magic_timestamp(left)
        return left, right

    def _is_distinct(self, e: ast.IsDistinct) -> b.Bound:
        left, right = self._time_aware(e.left, e.right)
        function = None
        if left.type is not None and right.type is not None:
            self._comparator("IS DISTINCT FROM", left, right, e.left, e.right)
            function = self._comparator("=", left, right, e.left, e.right)
        return b.Distinct(left=left, right=right, negated=False, function=function)

    def _logical(self, e: ast.Logical) -> b.Bound:
        return b.Logic(operator=e.op, left=self._boolean(e.left), right=self._boolean(e.right))

    def _not(self, e: ast.Not) -> b.Bound:
        return b.NotOp(operand=self._boolean(e.operand))

    def _boolean(self, e: ast.Expression) -> b.Bound:
        operand = self.bind(e)
        if operand.type is not None and operand.type != BOOLEAN:
            raise StatementError(
                f"Should evaluate to boolean but is {e} ({operand.type}) instead.", **e.position
            )
        return operand

    def _is_null(self, e: ast.IsNull) -> b.Bound:
        return b.NullTest(operand=self.bind(e.operand), negated=e.negated)

    def _between(self, e: ast.Between) -> b.Bound:
        try:
            low = self.compare(">=", e.value, e.low)
            high = self.compare("<=", e.value, e.high)
        except StatementError as error:
            message = f"Invalid expression: {error.message}"
            raise StatementError(message, line=error.line, column=error.column) from None
        return b.Logic(operator="AND", left=low, right=high)

    def _in(self, e: ast.In) -> b.Bound:
        operand = self.bind(e.value)
        items = [self.bind(i) for i in e.items]
        if _is_time(operand):
            items = [magic_timestamp(i) if _is_text(i) else i for i in items]
        operand, items = membership_items(operand, items, e.value, e.items)
        return b.Membership(operand=operand, items=tuple(items))

    def _like(self, e: ast.Like) -> b.Bound:
        value, pattern = self.bind(e.value), self.bind(e.pattern)
        for side in (value, pattern):
            if side.type != STRING:
                raise StatementError(
                    f"Like condition must be between strings, got {type_text(side.type)}"
                    if side is pattern
                    else "The column type for Like condition must be VARCHAR. The column type is "
                    f"{type_text(side.type)}",
                    **e.position,
                )
        escape = e.escape
        like_regex("", escape)
        if isinstance(pattern, b.Constant) and pattern.value is not None:
            matches = like_regex(pattern.value, escape).fullmatch
            return b.Call(
                type=BOOLEAN,
                name="LIKE",
                function=lambda v: matches(v) is not None,
                arguments=(value,),
                contains=False,
            )
        return b.Call(
            type=BOOLEAN,
            name="LIKE",
            function=lambda v, p: like(v, p, escape),
            arguments=(value, pattern),
            contains=False,
        )

    # Casts, constructors, access

    def _cast(self, e: ast.Cast) -> b.Bound:
        operand = self.bind(e.operand)
        target = self._resolve_type(e.type)
        if operand.type is None:
            null_text = target == STRING and not self.rules.keep_null
            return b.Constant(type=target, value="null" if null_text else None)
        try:
            function = convert.cast_function(operand.type, target)
        except KsqlError as error:
            raise StatementError(f"Invalid Select: {error.message}", **e.position) from None
        contain = self.rules.contain
        cast = b.Conversion(type=target, operand=operand, function=function, contains=contain)
        return cast if target != STRING or self.rules.keep_null else self._null_as_text(cast)

    def _null_as_text(self, text: b.Bound) -> b.Bound:
        """The text of a value, that of NULL being ``null``."""
        return b.Call(
            type=STRING,
            name="CAST",
            function=lambda v: "null" if v is None else v,
            arguments=(text,),
            contains=self.rules.contain,
        )

    def _dereference(self, e: ast.Dereference) -> b.Bound:
        base = self.bind(e.base)
        if not isinstance(base.type, Struct):
            raise StatementError(f"Expected STRUCT type, got: {type_text(base.type)}", **e.position)
        position = base.type.index.get(e.field_name)
        if position is None:
            raise StatementError(
                f"Could not find field '{e.field_name}' in '{e.base}'. Available fields: "
                f"{', '.join(name for name, _ in base.type.fields)}",
                **e.position,
            )
        return b.Field(
            type=base.type.fields[position][1],
            operand=base,
            index=position,
            name=e.field_name,
            contains=self.rules.contain,
        )

    def _subscript(self, e: ast.Subscript) -> b.Bound:
        base, index = self.bind(e.base), self.bind(e.index)
        match base.type:
            case Array(element):
                if index.type not in (INTEGER, BIGINT):
                    raise StatementError(
                        f"Array index must be an integer, got {type_text(index.type)}.", **e.position
                    )
                return b.Item(type=element, operand=base, subscript=index, of_map=False)
            case Map(key, value):
                if index.type != key:
                    if index.type is None:
                        raise StatementError("Map key must not be a NULL literal.", **e.position)
                    index = self._widen(index, key)
                return b.Item(type=value, operand=base, subscript=index, of_map=True)
        raise StatementError(f"Subscript is not supported on {type_text(base.type)}.", **e.position)

    def _widen(self, e: b.Bound, target: DataType) -> b.Bound:
        assert e.type is not None
        function = convert.widening_function(e.type, target)
        return (
            e
            if function is convert.identity
            else b.Conversion(type=target, operand=e, function=function, contains=False)
        )


def _is_time(e: b.Bound) -> bool:
    return isinstance(e, b.ColumnValue) and e.type == BIGINT and e.name.rsplit("_", 1)[-1] in TIME_COLUMNS


def _is_text(e: b.Bound) -> bool:
    return isinstance(e, b.Constant) and e.type == STRING


_BIND: dict[type, Callable[[Binder, Any], b.Bound]] = {
    ast.Literal: Binder._literal,
    ast.ColumnRef: Binder._column,
    ast.LambdaVariable: Binder._lambda_variable,
    ast.Lambda: Binder._lambda,
    ast.IntervalUnit: Binder._interval_unit,
    ast.Arithmetic: Binder._arithmetic,
    ast.Unary: Binder._unary,
    ast.Comparison: Binder._comparison,
    ast.Logical: Binder._logical,
    ast.Not: Binder._not,
    ast.IsNull: Binder._is_null,
    ast.IsDistinct: Binder._is_distinct,
    ast.Between: Binder._between,
    ast.In: Binder._in,
    ast.Like: Binder._like,
    ast.SearchedCase: constructors.searched_case,
    ast.SimpleCase: constructors.simple_case,
    ast.Cast: Binder._cast,
    ast.ArrayConstructor: constructors.array,
    ast.MapConstructor: constructors.map_,
    ast.StructConstructor: constructors.struct,
    ast.Dereference: Binder._dereference,
    ast.Subscript: Binder._subscript,
    ast.FunctionCall: calls.scalar,
}
