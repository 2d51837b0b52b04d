"""The canonical text of expressions, types, schemas and statements.

It is what messages quote and what SHOW QUERIES and DESCRIBE show. Operations are fully parenthesised,
names are bare where that reads back as the same name, and parsing the text gives an equal tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from kalam_jupyter.engine.types import DOUBLE, Array, Column, DataType, Map, Struct
from kalam_jupyter.engine.types import Decimal as DecimalType
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.ast import Expression, NamedType, Properties
from kalam_jupyter.ksql.lang.tokens import is_plain_name

# Names and types


def quote(name: str) -> str:
    """Return the name in backticks."""
    return "`" + name.replace("`", "``") + "`"


def format_name(name: str) -> str:
    """Return the name, in backticks if it would otherwise read as another one or as a reserved word."""
    return name if is_plain_name(name) or name.startswith("${") else quote(name)


def format_type(type_: DataType) -> str:
    """Return a type as it is written in statements, where field names are quoted only if need be.

    ``str(type_)`` is the form of printed schemas, where they always are.
    """
    match type_:
        case Struct(fields):
            inner = ", ".join(f"{format_name(name)} {format_type(t)}" for name, t in fields)
            return f"STRUCT<{inner}>"
        case Array(element):
            return f"ARRAY<{format_type(element)}>"
        case Map(key, value):
            return f"MAP<{format_type(key)}, {format_type(value)}>"
        case NamedType(name):
            return format_name(name)
    return str(type_)


def format_schema(columns: Iterable[Column]) -> str:
    """Return columns as messages show them: ```K` STRING KEY, `V` INTEGER``."""
    return ", ".join(f"{quote(c.name)} {c.type}{' KEY' if c.key else ''}" for c in columns)


# Expressions


def format_expression(expression: Expression) -> str:
    """Return the canonical text of an expression."""
    return _EXPRESSIONS[type(expression)](expression)


_f = format_expression


def _list(items: Iterable[Expression]) -> str:
    return ", ".join(map(_f, items))


def _literal(e: ast.Literal) -> str:
    value = e.value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if e.type == DOUBLE:
        return _double(value)
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return f"{text}." if isinstance(e.type, DecimalType) and e.type.scale == 0 else text
    return str(value)


def _string(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _double(value: float) -> str:
    """With an exponent, without which it would be a DECIMAL."""
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    power = int(exponent) + len(text) - 1 if text else 0
    text = text.rstrip("0") or "0"
    mantissa = f"{text[0]}.{text[1:]}" if len(text) > 1 else text
    return f"{'-' if sign else ''}{mantissa}E{power}"


def _column(e: ast.ColumnRef) -> str:
    name = format_name(e.name)
    return name if e.qualifier is None else f"{format_name(e.qualifier)}.{name}"


def _base(e: Expression) -> str:
    """What ``[i]`` or ``->f`` follows."""
    if isinstance(e, ast.Unary):
        return f"({_f(e)})"
    if isinstance(e, ast.ColumnRef) and e.qualifier is None and e.name == "ARRAY":
        return quote(e.name)
    return _f(e)


def _call(e: ast.FunctionCall) -> str:
    name = quote(e.name) if e.name in ("MAP", "STRUCT") else format_name(e.name)
    return f"{name}({'*' if e.star else _list(e.args)})"


def _lambda(e: ast.Lambda) -> str:
    names = ", ".join(map(format_name, e.params))
    return f"{names if len(e.params) == 1 else f'({names})'} => {_f(e.body)}"


def _binary(e: ast.Arithmetic | ast.Comparison | ast.Logical) -> str:
    return f"({_f(e.left)} {e.op} {_f(e.right)})"


def _unary(e: ast.Unary) -> str:
    operand = _f(e.operand)
    if e.op == "-" and isinstance(e.operand, ast.Literal) and operand[0] in "0123456789":
        operand = f"({operand})"
    return f"{e.op}{' ' if operand.startswith('-') else ''}{operand}"


def _like(e: ast.Like) -> str:
    escape = "" if e.escape is None else f" ESCAPE {_string(e.escape)}"
    return f"({_f(e.value)} LIKE {_f(e.pattern)}{escape})"


def _case(e: ast.SearchedCase | ast.SimpleCase) -> str:
    parts = ["CASE"]
    if isinstance(e, ast.SimpleCase):
        parts.append(_f(e.operand))
    parts += [f"WHEN {_f(w.condition)} THEN {_f(w.result)}" for w in e.whens]
    if e.default is not None:
        parts.append(f"ELSE {_f(e.default)}")
    return f"({' '.join(parts)} END)"


_EXPRESSIONS: dict[type[Expression], Callable[[Any], str]] = {
    ast.Literal: _literal,
    ast.Variable: lambda e: f"${{{e.name}}}",
    ast.ColumnRef: _column,
    ast.LambdaVariable: lambda e: format_name(e.name),
    ast.Dereference: lambda e: f"{_base(e.base)}->{format_name(e.field_name)}",
    ast.Subscript: lambda e: f"{_base(e.base)}[{_f(e.index)}]",
    ast.FunctionCall: _call,
    ast.Lambda: _lambda,
    ast.IntervalUnit: lambda e: e.unit,
    ast.Arithmetic: _binary,
    ast.Comparison: _binary,
    ast.Logical: _binary,
    ast.Unary: _unary,
    ast.Not: lambda e: f"(NOT {_f(e.operand)})",
    ast.IsNull: lambda e: f"({_f(e.operand)} IS {'NOT ' if e.negated else ''}NULL)",
    ast.IsDistinct: lambda e: f"({_f(e.left)} IS DISTINCT FROM {_f(e.right)})",
    ast.Between: lambda e: f"({_f(e.value)} BETWEEN {_f(e.low)} AND {_f(e.high)})",
    ast.In: lambda e: f"({_f(e.value)} IN ({_list(e.items)}))",
    ast.Like: _like,
    ast.SearchedCase: _case,
    ast.SimpleCase: _case,
    ast.Cast: lambda e: f"CAST({_f(e.operand)} AS {format_type(e.type)})",
    ast.ArrayConstructor: lambda e: f"ARRAY[{_list(e.items)}]",
    ast.MapConstructor: lambda e: f"MAP({', '.join(f'{_f(k)}:={_f(v)}' for k, v in e.entries)})",
    ast.StructConstructor: lambda e: (
        f"STRUCT({', '.join(f'{format_name(name)}:={_f(v)}' for name, v in e.fields)})"
    ),
}


# Queries


def _query(q: ast.Query) -> str:
    items = [_select_item(item) for item in q.select]
    lines = [f"SELECT {items[0]}" if len(items) == 1 else "SELECT\n  " + ",\n  ".join(items)]
    lines.append(f"FROM {_relation(q.relation)}")
    if q.window is not None:
        lines.append(f"WINDOW {_window(q.window)}")
    if q.where is not None:
        lines.append(f"WHERE {_f(q.where)}")
    for clause, expressions in (("GROUP BY", q.group_by), ("PARTITION BY", q.partition_by)):
        if expressions is not None:
            lines.append(f"{clause} {_by_list(expressions)}")
    if q.having is not None:
        lines.append(f"HAVING {_f(q.having)}")
    if q.emit is not None:
        lines.append(f"EMIT {q.emit}")
    if q.limit is not None:
        lines.append(f"LIMIT {q.limit}")
    return "\n".join(lines)


def _by_list(expressions: tuple[Expression, ...]) -> str:
    return _list(expressions) if expressions else "()"


def _select_item(item: ast.SelectItem) -> str:
    match item:
        case ast.AllColumns(source):
            return "*" if source is None else f"{format_name(source)}.*"
        case ast.StructAll(base):
            return f"{_base(base)}->*"
        case ast.SingleColumn(expression, alias):
            return _f(expression) if alias is None else f"{_f(expression)} {format_name(alias)}"


def _relation(relation: ast.Relation) -> str:
    if isinstance(relation, ast.SourceRef):
        return f"{format_name(relation.name)} {format_name(relation.label)}"
    kind = "INNER" if relation.kind == "INNER" else f"{relation.kind} OUTER"
    within = "" if relation.within is None else f" WITHIN {_within(relation.within)}"
    return (
        f"{_relation(relation.left)}\n{kind} JOIN {_relation(relation.right)}{within}"
        f" ON ({_f(relation.criteria)})"
    )


def _within(within: ast.Within) -> str:
    span = str(within.before)
    if within.before != within.after:
        span = f"({within.before}, {within.after})"
    return span if within.grace is None else f"{span} GRACE PERIOD {within.grace}"


def _window(window: ast.Window) -> str:
    match window:
        case ast.TumblingWindow():
            kind, shape = "TUMBLING", f"SIZE {window.size}"
        case ast.HoppingWindow():
            kind, shape = "HOPPING", f"SIZE {window.size}, ADVANCE BY {window.advance}"
        case ast.SessionWindow():
            kind, shape = "SESSION", str(window.gap)
        case _:
            raise TypeError(f"no such window: {window!r}")
    options = [shape]
    if window.retention is not None:
        options.append(f"RETENTION {window.retention}")
    if window.grace is not None:
        options.append(f"GRACE PERIOD {window.grace}")
    name = "" if window.name is None else f"{format_name(window.name)} "
    return f"{name}{kind} ( {', '.join(options)} )"


# Statements


def format_statement(statement: ast.Statement) -> str:
    """Return the canonical text of a statement, without semicolon."""
    return _STATEMENTS[type(statement)](statement)


def format_masked(statement: ast.Statement) -> str | None:
    """Return the text of a statement that holds data or secrets with those replaced, else None.

    Values of INSERT become ``'[value]'``, and properties of connectors other than their class
    ``'[string]'``.
    """
    match statement:
        case ast.InsertValues(target, columns, values):
            listed = f" ({', '.join(map(quote, columns))})" if columns else ""
            masked = ", ".join(["'[value]'"] * len(values))
            return f"INSERT INTO {quote(target)}{listed} VALUES ({masked})"
        case ast.CreateConnector():
            return _create_connector(statement, mask=True)
        case ast.Explain(None, inner) if inner is not None:
            text = format_masked(inner)
            return None if text is None else f"EXPLAIN {text}"
    return None


def _words(*parts: str | None) -> str:
    return " ".join(part for part in parts if part)


def _with(properties: Properties) -> str:
    if not properties:
        return ""
    inner = ", ".join(
        f"{name if is_plain_name(name) else _string(name)}={_f(value)}" for name, value in properties.items
    )
    return f"WITH ({inner})"


def _create_connector(s: ast.CreateConnector, *, mask: bool = False) -> str:
    def shown(name: str, value: Expression) -> str:
        return "'[string]'" if mask and name.lower() != "connector.class" else _f(value)

    inner = ", ".join(f"{_string(name)}={shown(name, value)}" for name, value in s.properties.items)
    exists = "IF NOT EXISTS" if s.if_not_exists else ""
    return _words("CREATE", s.kind, "CONNECTOR", exists, quote(s.name), f"WITH ({inner})")


def _create_head(s: ast.CreateSource | ast.CreateSourceAs) -> str:
    return _words(
        "CREATE",
        "OR REPLACE" if s.or_replace else "",
        "SOURCE" if isinstance(s, ast.CreateSource) and s.read_only else "",
        s.kind,
        "IF NOT EXISTS" if s.if_not_exists else "",
        format_name(s.name),
    )


def _create_source(s: ast.CreateSource) -> str:
    columns = ", ".join(map(_element, s.elements))
    return _words(_create_head(s), f"({columns})" if columns else "", _with(s.properties))


def _element(element: ast.TableElement) -> str:
    constraint = element.constraint
    if constraint == "HEADER":
        return _words(
            format_name(element.name), format_type(element.type), f"HEADER({_string(element.header or '')})"
        )
    return _words(format_name(element.name), format_type(element.type), constraint)


def _insert_values(s: ast.InsertValues) -> str:
    return _words("INSERT INTO", _target(s.target, s.columns), f"VALUES ({_list(s.values)})")


def _target(name: str, columns: tuple[str, ...]) -> str:
    listed = f" ({', '.join(map(format_name, columns))})" if columns else ""
    return f"{format_name(name)}{listed}"


def _drop(s: ast.DropSource) -> str:
    exists = "IF EXISTS" if s.if_exists else ""
    topic = "DELETE TOPIC" if s.delete_topic else ""
    return _words("DROP", s.kind, exists, format_name(s.name), topic)


def _alter(s: ast.AlterSource) -> str:
    added = ", ".join(f"ADD COLUMN {format_name(name)} {format_type(t)}" for name, t in s.columns)
    return _words("ALTER", s.kind, format_name(s.name), added)


def _create_type(s: ast.CreateType) -> str:
    exists = "IF NOT EXISTS" if s.if_not_exists else ""
    return _words("CREATE TYPE", exists, format_name(s.name), "AS", format_type(s.type))


def _as_written(name: str) -> str:
    """A name whose case matters: bare only if it is a plain word."""
    return name if is_plain_name(name.upper()) or name.startswith("${") else quote(name)


def _by_id(verb: str) -> Callable[[Any], str]:
    return lambda s: f"{verb} {'ALL' if s.query_id is None else _as_written(s.query_id)}"


def _show(s: ast.Show) -> str:
    return _words("SHOW", "ALL" if s.all else "", s.connector_kind, s.what, "EXTENDED" if s.extended else "")


def _explain(s: ast.Explain) -> str:
    if s.statement is not None:
        return f"EXPLAIN {format_statement(s.statement)}"
    return f"EXPLAIN {_as_written(s.query_id or '')}"


def _print(s: ast.Print) -> str:
    return _words(
        f"PRINT {_string(s.topic)}",
        "FROM BEGINNING" if s.from_beginning else "",
        "" if s.interval is None else f"INTERVAL {s.interval}",
        "" if s.limit is None else f"LIMIT {s.limit}",
    )


def _assert_topic(s: ast.AssertTopic) -> str:
    return _words(_assert(s.exists), "TOPIC", _string(s.topic), _with(s.properties), _timeout(s.timeout))


def _assert_schema(s: ast.AssertSchema) -> str:
    return _words(
        _assert(s.exists),
        "SCHEMA",
        "" if s.subject is None else f"SUBJECT {_string(s.subject)}",
        "" if s.id is None else f"ID {s.id}",
        _timeout(s.timeout),
    )


def _assert(exists: bool) -> str:
    return "ASSERT" if exists else "ASSERT NOT EXISTS"


def _timeout(timeout: ast.Duration | None) -> str:
    return "" if timeout is None else f"TIMEOUT {timeout}"


def _describe(s: ast.Describe) -> str:
    return _words("DESCRIBE", format_name(s.name), "EXTENDED" if s.extended else "")


_STATEMENTS: dict[type[ast.Statement], Callable[[Any], str]] = {
    ast.Query: _query,
    ast.CreateSource: _create_source,
    ast.CreateSourceAs: lambda s: _words(_create_head(s), _with(s.properties), "AS", _query(s.query)),
    ast.InsertInto: lambda s: _words(
        "INSERT INTO", format_name(s.target), _with(s.properties), _query(s.query)
    ),
    ast.InsertValues: _insert_values,
    ast.DropSource: _drop,
    ast.AlterSource: _alter,
    ast.CreateType: _create_type,
    ast.DropType: lambda s: _words("DROP TYPE", "IF EXISTS" if s.if_exists else "", format_name(s.name)),
    ast.CreateConnector: _create_connector,
    ast.DropConnector: lambda s: _words("DROP CONNECTOR", "IF EXISTS" if s.if_exists else "", quote(s.name)),
    ast.Terminate: _by_id("TERMINATE"),
    ast.Pause: _by_id("PAUSE"),
    ast.Resume: _by_id("RESUME"),
    ast.SetProperty: lambda s: f"SET {_string(s.name)}={_string(s.value)}",
    ast.UnsetProperty: lambda s: f"UNSET {_string(s.name)}",
    ast.AlterSystem: lambda s: f"ALTER SYSTEM {_string(s.name)}={_string(s.value)}",
    ast.Define: lambda s: f"DEFINE {_as_written(s.name)}={_string(s.value)}",
    ast.Undefine: lambda s: f"UNDEFINE {_as_written(s.name)}",
    ast.Show: _show,
    ast.Describe: _describe,
    ast.DescribeAll: lambda s: _words("DESCRIBE", s.what, "EXTENDED" if s.extended else ""),
    ast.DescribeFunction: lambda s: f"DESCRIBE FUNCTION {format_name(s.name)}",
    ast.DescribeConnector: lambda s: f"DESCRIBE CONNECTOR {quote(s.name)}",
    ast.Explain: _explain,
    ast.Print: _print,
    ast.AssertTopic: _assert_topic,
    ast.AssertSchema: _assert_schema,
    ast.AssertValues: lambda s: _words(
        "ASSERT VALUES", _target(s.source, s.columns), f"VALUES ({_list(s.values)})"
    ),
    ast.AssertNullValues: lambda s: _words(
        "ASSERT NULL VALUES", _target(s.source, s.columns), f"KEY ({_list(s.values)})"
    ),
    ast.AssertSource: lambda s: _create_source(s.source).replace("CREATE", "ASSERT", 1),
    ast.RunScript: lambda s: f"RUN SCRIPT {_string(s.path)}",
    ast.Spool: lambda s: f"SPOOL {'OFF' if s.path is None else _string(s.path)}",
}
