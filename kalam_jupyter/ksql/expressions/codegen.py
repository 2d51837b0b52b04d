"""Bound expressions to Python functions over one flat row: the complete, reference evaluation.

Failures are Python exceptions inside the generated code. They are contained where section 6 of the language
contract says: at the
nearest enclosing CAST, array item, map key or value, struct field, or function argument that is a call;
otherwise they fail the whole
column (NULL) or predicate (false). Every failure is reported once, to the `report` callback, which feeds the
processing log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kalam_jupyter.engine.types import BIGINT, INTEGER, DataType
from kalam_jupyter.ksql.expressions import bound as b

Row = tuple[Any, ...]
Report = Callable[[BaseException], None]


def ignore(error: BaseException) -> None:
    """Report nothing: for callers that have no processing log."""


class NullOperandError(ValueError):
    """A NULL where a BOOLEAN is needed."""


def _boolean(value: Any) -> bool:
    if value is None:
        raise NullOperandError("null where a BOOLEAN is needed")
    boolean: bool = value
    return boolean


def _array_item(array: list[Any] | None, index: int | None) -> Any:
    if array is None or index is None:
        return None
    position = index - 1 if index > 0 else len(array) + index
    return array[position] if index != 0 and 0 <= position < len(array) else None


def _map_item(mapping: dict[Any, Any] | None, key: Any) -> Any:
    return None if mapping is None else mapping.get(key)


class _Generator:
    """Writes one module's worth of source: a main function and the helpers that contain failures."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"_boolean": _boolean, "_item": _array_item, "_entry": _map_item}
        self.helpers: list[str] = []
        self._count = 0
        self._lambda_names: tuple[str, ...] = ()

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def constant(self, value: Any) -> str:
        if value is None or isinstance(value, bool | int | str | bytes):
            return f"({value!r})" if isinstance(value, int) and not isinstance(value, bool) else repr(value)
        name = self.fresh("k")
        self.names[name] = value
        return name

    def bind(self, value: Any, prefix: str = "f") -> str:
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    def code(self, e: b.Bound) -> str:
        return _CODE[type(e)](self, e)

    def operand(self, e: b.Bound) -> str:
        """Code for a BOOLEAN operand: fails on NULL unless it cannot be NULL."""
        code = self.code(e)
        return code if e.total else f"_boolean({code})"

    def contained(self, e: b.Bound, contains: bool = True) -> str:
        """Code whose failure becomes NULL here, if `contains`."""
        if not contains or isinstance(e, b.Constant | b.ColumnValue | b.LambdaParameter | b.LambdaValue):
            return self.code(e)
        body = self.code(e)
        name = self.fresh("n")
        parameters = ", ".join(("r", *self._lambda_names))
        self.helpers.append(
            f"def {name}({parameters}):\n try:\n  return {body}\n except Exception as error:\n  "
            "_report(error)\n"
            f"  return None\n"
        )
        return f"{name}({parameters})"

    def argument(self, e: b.Bound) -> str:
        return self.contained(e, isinstance(e, b.Call | b.Conversion | b.Field) and e.contains)

    def lambda_(self, e: b.LambdaValue) -> str:
        outer = self._lambda_names
        names = tuple(_lambda_name(p) for p in e.parameters)
        self._lambda_names = (*outer, *names)
        try:
            return f"(lambda {', '.join(names)}: {self.code(e.body)})"
        finally:
            self._lambda_names = outer


def _lambda_name(parameter: str) -> str:
    return "v_" + parameter.encode("utf-8").hex()


def _call(g: _Generator, e: b.Call) -> str:
    function = g.bind(e.function)
    arguments = [g.argument(a) if e.contains else g.code(a) for a in e.arguments]
    if not e.null_on_null:
        return f"{function}({', '.join(arguments)})"
    names, tests = [], []
    for argument, code in zip(e.arguments, arguments, strict=True):
        if isinstance(argument, b.Constant) and argument.value is not None:
            names.append(code)
        else:
            name = g.fresh("t")
            names.append(name)
            tests.append(f"({name} := {code}) is None")
    call = f"{function}({', '.join(names)})"
    # `|` evaluates every operand, so that no temporary is unset and a failing argument fails the call
    return f"(None if {' | '.join(f'({t})' for t in tests)} else {call})" if tests else call


_WRAP: dict[DataType | None, int] = {INTEGER: 1 << 31, BIGINT: 1 << 63}


def _arithmetic(g: _Generator, e: b.ArithmeticOp) -> str:
    left, right = g.code(e.left), g.code(e.right)
    if e.function is not None:
        return f"{g.bind(e.function)}({left}, {right})"
    half = _WRAP.get(e.type)
    if half is None:
        return f"({left} {e.operator} {right})"
    return f"((({left} {e.operator} {right}) + {half} & {2 * half - 1}) - {half})"


def _negation(g: _Generator, e: b.Negation) -> str:
    half = _WRAP.get(e.type)
    code = f"-({g.code(e.operand)})"
    return f"({code})" if half is None else f"((({code}) + {half} & {2 * half - 1}) - {half})"


def _pair(g: _Generator, left: b.Bound, right: b.Bound) -> tuple[str, str, str]:
    """Names for two operands and code that evaluates both before anything is decided."""
    parts, names = [], []
    for side in (left, right):
        if isinstance(side, b.Constant | b.LambdaParameter | b.ColumnValue):
            names.append(g.code(side))
        else:
            name = g.fresh("t")
            names.append(name)
            parts.append(f"({name} := {g.code(side)})")
    return names[0], names[1], "".join(p + ", " for p in parts)


_PYTHON_COMPARE = {"=": "==", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _compare(g: _Generator, e: b.CompareOp) -> str:
    left, right, before = _pair(g, e.left, e.right)
    tests = [
        f"{n} is not None" for n, s in ((left, e.left), (right, e.right)) if not isinstance(s, b.Constant)
    ]
    if e.function is None:
        test = f"{left} {_PYTHON_COMPARE[e.operator]} {right}"
    else:
        test = f"{g.bind(e.function)}({left}, {right})"
        for literal, other, name in ((e.left, e.right, right), (e.right, e.left, left)):
            double = b.as_double(literal, other)
            if isinstance(double, b.Constant) and double is not literal:
                k, op = g.constant(double.value), _PYTHON_COMPARE[e.operator]
                quick = f"{k} {op} {name}" if literal is e.left else f"{name} {op} {k}"
                # the difference is NaN for infinities and NaN, which have no decimal: a failure
                test = f"({quick} if {name} - {name} == 0 else {test})"
    code = " and ".join((*tests, test))
    return f"({before}{code})[-1]" if before else f"({code})"


def _distinct(g: _Generator, e: b.Distinct) -> str:
    left, right, before = _pair(g, e.left, e.right)
    # Python warns of `1 is None`
    left, right = (
        g.bind(side.value, "k") if isinstance(side, b.Constant) else name
        for side, name in ((e.left, left), (e.right, right))
    )
    equal = f"{left} == {right}" if e.function is None else f"{g.bind(e.function)}({left}, {right})"
    same = f"({left} is None and {right} is None or {left} is not None and {right} is not None and {equal})"
    code = same if e.negated else f"(not {same})"
    return f"({before}{code})[-1]" if before else code


def _membership(g: _Generator, e: b.Membership) -> str:
    operand = g.code(e.operand)
    name = g.fresh("t")
    constants = [i for i in e.items if isinstance(i, b.Constant)]
    if len(constants) == len(e.items):
        values = [i.value for i in constants if i.value is not None]
        try:
            items = g.bind(frozenset(values), "k")
        except TypeError:
            items = g.bind(tuple(values), "k")
    else:
        items = f"({', '.join(g.code(i) for i in e.items)},)"
    return f"(({name} := {operand}) is not None and {name} in {items})"


def _case(g: _Generator, e: b.Case) -> str:
    code = "None" if e.default is None else g.code(e.default)
    for condition, result in reversed(e.branches):
        code = f"({g.code(result)} if {g.operand(condition)} else {code})"
    return code


def _conversion(g: _Generator, e: b.Conversion) -> str:
    name = g.fresh("t")
    operand = g.contained(e.operand, e.contains)
    return f"(None if ({name} := {operand}) is None else {g.bind(e.function)}({name}))"


def _field(g: _Generator, e: b.Field) -> str:
    name = g.fresh("t")
    return f"(None if ({name} := {g.code(e.operand)}) is None else {name}[{e.index}])"


def _null_test(g: _Generator, e: b.NullTest) -> str:
    if isinstance(e.operand, b.Constant):
        return repr((e.operand.value is None) != e.negated)
    code = g.code(e.operand)
    if not isinstance(e.operand, b.ColumnValue):  # Python warns of `-1 is None`, but not of names
        code = f"({g.fresh('t')} := {code})"
    return f"({code} is {'not ' if e.negated else ''}None)"


def _map(g: _Generator, e: b.MapOf) -> str:
    pairs = zip(e.keys, e.values, strict=True)
    entries = (f"{g.contained(k, e.contains)}: {g.contained(v, e.contains)}" for k, v in pairs)
    return f"{{{', '.join(entries)}}}"


_CODE: dict[type, Callable[[_Generator, Any], str]] = {
    b.Constant: lambda g, e: g.constant(e.value),
    b.ColumnValue: lambda g, e: f"r[{e.index}]",
    b.LambdaParameter: lambda g, e: _lambda_name(e.name),
    b.LambdaValue: _Generator.lambda_,
    b.Call: _call,
    b.ArithmeticOp: _arithmetic,
    b.Negation: _negation,
    b.CompareOp: _compare,
    b.Distinct: _distinct,
    b.Logic: lambda g, e: f"({g.operand(e.left)} {e.operator.lower()} {g.operand(e.right)})",
    b.NotOp: lambda g, e: f"(not {g.operand(e.operand)})",
    b.NullTest: _null_test,
    b.Membership: _membership,
    b.Case: _case,
    b.Conversion: _conversion,
    b.Field: _field,
    b.Item: lambda g, e: f"{'_entry' if e.of_map else '_item'}({g.code(e.operand)}, {g.code(e.subscript)})",
    b.ArrayOf: lambda g, e: f"[{', '.join(g.contained(i, e.contains) for i in e.items)}]",
    b.MapOf: _map,
    b.StructOf: lambda g, e: f"({''.join(g.contained(i, e.contains) + ', ' for i in e.items)})",
}


def _build(g: _Generator, source: str, report: Report) -> Callable[[Row], Any]:
    g.names["_report"] = report
    text = "".join(g.helpers) + source
    exec(compile(text, "<ksql expression>", "exec"), g.names)
    main: Callable[[Row], Any] = g.names["main"]
    return main


_GUARDED = "def main(r):\n try:\n  return {}\n except Exception as error:\n  _report(error)\n  return {}\n"


def compile_raising(expression: b.Bound) -> Callable[[Row], Any]:
    """Return a function of the flat row that lets an uncontained failure through."""
    g = _Generator()
    return _build(g, f"def main(r):\n return {g.code(expression)}\n", ignore)


def compile_value(expression: b.Bound, report: Report = ignore) -> Callable[[Row], Any]:
    """Return a function of the flat row; a failure is reported and gives None."""
    g = _Generator()
    body = g.code(expression)
    return _build(g, _GUARDED.format(body, None), report)


def compile_predicate(expression: b.Bound, report: Report = ignore) -> Callable[[Row], bool]:
    """Return a function of the flat row that is True only where the predicate is; a failure is reported."""
    g = _Generator()
    body = g.code(expression)
    test = body if expression.total else f"{body} is True"
    return _build(g, _GUARDED.format(test, False), report)


def compile_projection(expressions: Sequence[b.Bound], report: Report = ignore) -> Callable[[Row], Row]:
    """Return a function from the flat row to a tuple; each column fails on its own."""
    g = _Generator()
    before, parts = [], []
    for e in expressions:
        body = g.code(e)
        if isinstance(e, b.Constant | b.ColumnValue):
            parts.append(body)
            continue
        name = g.fresh("c")
        parts.append(name)
        before.append(
            f" try:\n  {name} = {body}\n except Exception as error:\n  _report(error)\n  {name} = None\n"
        )
    result = "(" + "".join(p + ", " for p in parts) + ")"
    return _build(g, f"def main(r):\n{''.join(before)} return {result}\n", report)
