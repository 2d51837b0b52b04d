"""The binder: AST expressions to bound expressions, over one layout of the flat row.

Names become positions, literals physical values, operators and functions Python callables, and every node
gets its type. What is
wrong is said here, in the reference's words; the clause that an expression is in puts its own words in front
(see `bind_clause`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from kalam_jupyter.ksql.expressions.coercion import common_items, magic_timestamp, membership_items
from kalam_jupyter.ksql.expressions.like import like, like_regex
from kalam_jupyter.ksql.functions.registry import Call, EvaluationContext, FunctionRegistry
from kalam_jupyter.ksql.functions.resolve import ArgumentType, LambdaArgument
from kalam_jupyter.ksql.functions.signature import INTERVAL, INTERVAL_UNITS
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import ROWTIME, WINDOWEND, WINDOWSTART
from kalam_jupyter.ksql.values import arithmetic, compare, convert
from kalam_jupyter.ksql.values.errors import EvaluationError

TIME_COLUMNS = frozenset({ROWTIME, WINDOWSTART, WINDOWEND})


def type_text(type_: DataType | None) -> str:
    """Return a type as messages print it; an untyped NULL is ``null``."""
    return "null" if type_ is None else str(type_)


def identity_type(type_: DataType) -> DataType:
    """Return the type itself: where there are no custom types."""
    return type_


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
    """

    def __init__(
        self,
        layout: Layout,
        functions: FunctionRegistry,
        context: EvaluationContext,
        resolve_type: Callable[[DataType], DataType] = identity_type,
        known: Mapping[ast.Expression, b.ColumnValue] = {},
    ) -> None:
        self._layout = layout
        self._functions = functions
        self._context = context
        self._resolve_type = resolve_type
        self._known = known
        self._lambda_types: dict[str, DataType | None] = {}

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
        found = self._layout.find(e.name)
        if found is None:
            raise StatementError(f"Unknown column {e.name}.", **_position(e))
        return found

    def _lambda_variable(self, e: ast.LambdaVariable) -> b.Bound:
        return b.LambdaParameter(type=self._lambda_types[e.name], name=e.name)

    def _interval_unit(self, e: ast.IntervalUnit) -> b.Bound:
        unit = INTERVAL_UNITS.get(e.unit)
        if unit is None:
            raise StatementError(f"Unsupported interval unit: {e.unit}", **_position(e))
        return b.Constant(type=None, value=unit)

    # Operators

    def _arithmetic(self, e: ast.Arithmetic) -> b.Bound:
        left, right = self.bind(e.left), self.bind(e.right)
        try:
            type_ = arithmetic.arithmetic_type(e.op, left.type, right.type)
            assert left.type is not None and right.type is not None
            function = arithmetic.arithmetic_function(e.op, left.type, right.type)
        except KsqlError as error:
            raise StatementError(
                f"Error processing expression: {e}. {error.message}", **_position(e)
            ) from None
        return b.ArithmeticOp(type=type_, operator=e.op, left=left, right=right, function=function)

    def _unary(self, e: ast.Unary) -> b.Bound:
        operand = self.bind(e.operand)
        if e.op == "+":
            return operand
        if isinstance(operand, b.Constant) and operand.value is not None and operand.type != STRING:
            return b.Constant(type=operand.type, value=-operand.value)
        if operand.type is None:
            raise StatementError(f"Error processing expression: {e}. null is not a number.", **_position(e))
        function = arithmetic.negation_function(operand.type)
        return b.Call(type=operand.type, name="-", function=function, arguments=(operand,), contains=False)

    def _comparison(self, e: ast.Comparison) -> b.Bound:
        return self._compare(e.op, e.left, e.right)

    def _compare(self, op: str, left_e: ast.Expression, right_e: ast.Expression) -> b.Bound:
        left, right = self._time_aware(left_e, right_e)
        function = self._comparator(op, left, right, left_e, right_e)
        return b.CompareOp(operator=op, left=left, right=right, function=function)

    def _comparator(
        self, op: str, left: b.Bound, right: b.Bound, left_e: ast.Expression, right_e: ast.Expression
    ) -> Callable[[Any, Any], bool] | None:
        try:
            return compare.comparison_function(op, left.type, right.type, str(left_e), str(right_e))
        except KsqlError as error:
            raise StatementError(error.message, **_position(left_e)) from None

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
                f"Should evaluate to boolean but is {e} ({operand.type}) instead.", **_position(e)
            )
        return operand

    def _is_null(self, e: ast.IsNull) -> b.Bound:
        return b.NullTest(operand=self.bind(e.operand), negated=e.negated)

    def _between(self, e: ast.Between) -> b.Bound:
        try:
            low = self._compare(">=", e.value, e.low)
            high = self._compare("<=", e.value, e.high)
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
                    **_position(e),
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

    # Conditional expressions

    def _searched_case(self, e: ast.SearchedCase) -> b.Bound:
        conditions = [self._when(w.condition) for w in e.whens]
        return self._case(conditions, e.whens, e.default)

    def _simple_case(self, e: ast.SimpleCase) -> b.Bound:
        conditions = [self._compare("=", e.operand, w.condition) for w in e.whens]
        return self._case(conditions, e.whens, e.default)

    def _when(self, e: ast.Expression) -> b.Bound:
        condition = self.bind(e)
        if condition.type != BOOLEAN:
            raise StatementError(
                f"Invalid Case expression. WHEN operand type should be boolean.\nType for '{e}' is "
                f"{condition.type}"
            )
        return condition

    def _case(
        self, conditions: Sequence[b.Bound], whens: Sequence[ast.When], default: ast.Expression | None
    ) -> b.Bound:
        results = [self.bind(w.result) for w in whens]
        other = None if default is None else self.bind(default)
        types = [r.type for r in results if r.type is not None]
        if any(t != types[0] for t in types):
            raise StatementError("Invalid Case expression. Type for all 'THEN' clauses should be the same.")
        if other is not None and other.type is not None and types and other.type != types[0]:
            raise StatementError(
                "Invalid Case expression. Type for the default clause should be the same as for 'THEN' "
                "clauses. "
                f"THEN type: {types[0]}. DEFAULT type: {other.type}"
            )
        if not types and (other is None or other.type is None):
            raise StatementError("Invalid Case expression. All case branches have NULL type")
        type_ = types[0] if types else other.type  # type: ignore[union-attr]
        return b.Case(type=type_, branches=tuple(zip(conditions, results, strict=True)), default=other)

    # Casts, constructors, access

    def _cast(self, e: ast.Cast) -> b.Bound:
        operand = self.bind(e.operand)
        target = self._resolve_type(e.type)
        if operand.type is None:
            return b.Constant(type=target, value=None)
        try:
            function = convert.cast_function(operand.type, target)
        except KsqlError as error:
            raise StatementError(f"Invalid Select: {error.message}", **_position(e)) from None
        return b.Conversion(type=target, operand=operand, function=function)

    def _array(self, e: ast.ArrayConstructor) -> b.Bound:
        if not e.items:
            raise StatementError(
                "Array constructor cannot be empty. Please supply at least one element "
                "(see https://github.com/confluentinc/ksql/issues/4239)."
            )
        items = [self.bind(i) for i in e.items]
        if all(i.type is None for i in items):
            raise StatementError(
                "Cannot construct an array with all NULL elements (see "
                "https://github.com/confluentinc/ksql/issues/4239)."
                " As a workaround, you may cast a NULL value to the desired type."
            )
        type_, items = common_items(items, e.items)
        return b.ArrayOf(type=Array(type_), items=tuple(items))

    def _map(self, e: ast.MapConstructor) -> b.Bound:
        if not e.entries:
            raise StatementError(
                "Map constructor cannot be empty. Please supply at least one key value pair "
                "(see https://github.com/confluentinc/ksql/issues/4239)."
            )
        sides = []
        for side, word in ((0, "keys"), (1, "values")):
            expressions = [entry[side] for entry in e.entries]
            items = [self.bind(i) for i in expressions]
            if all(i.type is None for i in items):
                raise StatementError(
                    f"Cannot construct a map with all NULL {word} "
                    "(see https://github.com/confluentinc/ksql/issues/4239). As a workaround, you may cast "
                    "a NULL "
                    f"{word[:-1]} to the desired type."
                )
            sides.append(common_items(items, expressions))
        (key_type, keys), (value_type, values) = sides
        return b.MapOf(type=Map(key_type, value_type), keys=tuple(keys), values=tuple(values))

    def _struct(self, e: ast.StructConstructor) -> b.Bound:
        names = [name for name, _ in e.fields]
        if len(set(names)) != len(names):
            raise StatementError("Duplicate field names found in STRUCT: " + str(e))
        items = [self.bind(i) for _, i in e.fields]
        for name, item in zip(names, items, strict=True):
            if item.type is None:
                raise StatementError(
                    f"Can't infer a type of null for field `{name}`. Please explicitly cast it to a "
                    "required type, "
                    "e.g. CAST(null AS VARCHAR)."
                )
        fields = tuple((name, item.type) for name, item in zip(names, items, strict=True))
        return b.StructOf(type=Struct(fields), items=tuple(items))  # type: ignore[arg-type]

    def _dereference(self, e: ast.Dereference) -> b.Bound:
        base = self.bind(e.base)
        if not isinstance(base.type, Struct):
            raise StatementError(f"Expected STRUCT type, got: {type_text(base.type)}", **_position(e))
        position = base.type.index.get(e.field_name)
        if position is None:
            raise StatementError(
                f"Could not find field '{e.field_name}' in '{e.base}'. Available fields: "
                f"{', '.join(name for name, _ in base.type.fields)}",
                **_position(e),
            )
        return b.Field(type=base.type.fields[position][1], operand=base, index=position, name=e.field_name)

    def _subscript(self, e: ast.Subscript) -> b.Bound:
        base, index = self.bind(e.base), self.bind(e.index)
        match base.type:
            case Array(element):
                if index.type not in (INTEGER, BIGINT):
                    raise StatementError(
                        f"Array index must be an integer, got {type_text(index.type)}.", **_position(e)
                    )
                return b.Item(type=element, operand=base, subscript=index, of_map=False)
            case Map(key, value):
                if index.type != key:
                    if index.type is None:
                        raise StatementError("Map key must not be a NULL literal.", **_position(e))
                    index = self._widen(index, key)
                return b.Item(type=value, operand=base, subscript=index, of_map=True)
        raise StatementError(f"Subscript is not supported on {type_text(base.type)}.", **_position(e))

    # Functions

    def _call(self, e: ast.FunctionCall) -> b.Bound:
        kind = self._functions.kind(e.name)
        if kind in ("AGGREGATE", "TABLE"):
            raise StatementError(
                f"{kind.capitalize()} function {e.name} cannot be used here.", **_position(e)
            )
        call, arguments = self._resolve(e)
        return b.Call(
            type=call.type,
            name=e.name,
            function=call.function,
            arguments=arguments,
            null_on_null=call.null_on_null,
            columnar=call.columnar if call.deterministic else None,
        )

    def bind_table_function(self, e: ast.FunctionCall) -> tuple[b.Bound, DataType]:
        """Return a table function as an expression that gives a list, and the type of its items."""
        call, arguments = self._resolve(e)
        assert call.type is not None
        bound = b.Call(
            type=Array(call.type),
            name=e.name,
            function=call.function,
            arguments=arguments,
            null_on_null=call.null_on_null,
        )
        return bound, call.type

    def _resolve(self, e: ast.FunctionCall) -> tuple[Call, tuple[b.Bound, ...]]:
        types = [self._argument_type(a) for a in e.args]
        try:
            call = self._functions.get(e.name).resolve(types, self._context)
        except StatementError:
            raise
        except KsqlError as error:
            raise StatementError(error.message, **_position(e)) from None
        arguments: list[b.Bound] = []
        for a, function, type_, parameters in zip(
            e.args, call.conversions, call.types, call.lambdas, strict=True
        ):
            if isinstance(a, ast.Lambda):
                assert parameters is not None
                arguments.append(self._lambda(a, parameters))
                continue
            bound = self.bind(a)
            if function is not convert.identity:
                bound = self._converted(bound, function, type_)
            arguments.append(bound)
        return call, tuple(arguments)

    def _argument_type(self, e: ast.Expression) -> ArgumentType:
        if isinstance(e, ast.Lambda):
            return LambdaArgument(len(e.params), lambda types: self._lambda(e, types).body.type)
        if isinstance(e, ast.IntervalUnit):
            return INTERVAL
        return self.bind(e).type

    def _lambda(self, e: ast.Lambda, types: Sequence[DataType]) -> b.LambdaValue:
        outer = self._lambda_types
        for name in e.params:
            if name in outer:
                raise StatementError(
                    "Reusing lambda arguments inside of nested lambda is not allowed. Lambda argument: "
                    f"{name}",
                    **_position(e),
                )
            if self._layout.find(name) is not None:
                raise StatementError(
                    f"Lambda function argument can't be a column name. Lambda argument: {name}",
                    **_position(e),
                )
        self._lambda_types = {**outer, **dict(zip(e.params, types, strict=True))}
        try:
            return b.LambdaValue(type=None, parameters=e.params, body=self.bind(e.body))
        finally:
            self._lambda_types = outer

    def _converted(self, e: b.Bound, function: Callable[[Any], Any], type_: DataType | None) -> b.Bound:
        if isinstance(e, b.Constant) and e.value is not None:
            try:
                return b.Constant(type=type_, value=function(e.value))
            except EvaluationError:
                pass  # it fails for every record then, as the reference does
        return b.Conversion(type=type_, operand=e, function=function, explicit=False)

    def _widen(self, e: b.Bound, target: DataType) -> b.Bound:
        assert e.type is not None
        function = convert.widening_function(e.type, target)
        return (
            e
            if function is convert.identity
            else b.Conversion(type=target, operand=e, function=function, explicit=False)
        )


def _position(e: ast.Node) -> dict[str, Any]:
    return {} if e.location is None else {"line": e.location.line, "column": e.location.column}


def _is_time(e: b.Bound) -> bool:
    return isinstance(e, b.ColumnValue) and e.type == BIGINT and e.name.rsplit("_", 1)[-1] in TIME_COLUMNS


def _is_text(e: b.Bound) -> bool:
    return isinstance(e, b.Constant) and e.type == STRING


_BIND: dict[type, Callable[[Binder, Any], b.Bound]] = {
    ast.Literal: Binder._literal,
    ast.ColumnRef: Binder._column,
    ast.LambdaVariable: Binder._lambda_variable,
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
    ast.SearchedCase: Binder._searched_case,
    ast.SimpleCase: Binder._simple_case,
    ast.Cast: Binder._cast,
    ast.ArrayConstructor: Binder._array,
    ast.MapConstructor: Binder._map,
    ast.StructConstructor: Binder._struct,
    ast.Dereference: Binder._dereference,
    ast.Subscript: Binder._subscript,
    ast.FunctionCall: Binder._call,
}
