"""The WHERE of a pull query when table scans are switched off: every branch must look keys up.

The predicate is brought to disjunctive normal form. In each branch every key column needs a comparison with
something that can be computed beforehand; a single unwindowed key may have a range where range scans are on.
"""

from __future__ import annotations

from collections.abc import Sequence

from kalam_jupyter.engine.types import BOOLEAN, STRING, Column
from kalam_jupyter.ksql.config import Config
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.format import format_schema
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.values.numbers import numeric_rank

#: Most branches that a predicate may have; larger ones scan.
MAX_BRANCHES = 256
_SCAN = "Query requires table scan to be enabled"
_RANGES = ("<", "<=", ">", ">=")

Branch = tuple[ast.Expression, ...]


def check_lookups(where: ast.Expression | None, source: Source, config: Config) -> None:
    """Refuse a predicate that would need a table scan while those are off.

    Raises
    ------
    StatementError
    """
    if config.flag("ksql.query.pull.table.scan.enabled"):
        return
    if where is None:
        raise StatementError(f"Missing WHERE clause. {_SCAN}.")
    branches = _disjuncts(where)
    if len(branches) > MAX_BRANCHES:
        raise StatementError(_SCAN)
    for branch in branches:
        _check_branch(branch, source, ranges_allowed=_ranges_allowed(source, config, len(branches)))


def _ranges_allowed(source: Source, config: Config, branches: int) -> bool:
    """Whether keys can be found by ``<`` and its like: one range of one key column that has no windows."""
    single = branches == 1 and len(source.schema.key) == 1 and source.window is None
    return single and config.flag("ksql.query.pull.range.scan.enabled")


def _disjuncts(e: ast.Expression) -> list[Branch]:
    match e:
        case ast.Logical(op="OR", left=left, right=right):
            return _disjuncts(left) + _disjuncts(right)
        case ast.Logical(op="AND", left=left, right=right):
            return [a + b for a in _disjuncts(left) for b in _disjuncts(right)]
        case ast.Not(operand=ast.Logical(op=op, left=left, right=right)):
            other = "AND" if op == "OR" else "OR"
            return _disjuncts(ast.Logical(other, ast.Not(left), ast.Not(right)))
        case ast.Not(operand=ast.Not(operand=inner)):
            return _disjuncts(inner)
        case ast.Between(value=value, low=low, high=high):
            return [(ast.Comparison(">=", value, low), ast.Comparison("<=", value, high))]
    return [(e,)]


def _check_branch(branch: Branch, source: Source, *, ranges_allowed: bool) -> None:
    keys = {c.name: c for c in source.schema.key}
    found: dict[str, str] = {}
    for e in branch:
        column = _key_comparison(e, keys)
        if column is None:
            continue
        name, op = column
        if name in found:
            raise StatementError(
                "A comparison condition on the key column cannot be combined with other comparisons such "
                "as an IN predicate"
            )
        found[name] = op
    if not found:
        if any(isinstance(e, ast.Like) for e in branch):
            raise StatementError(f"Like condition must be between strings, and finds no keys. {_SCAN}.")
        text = str(_joined(branch))
        raise StatementError(f"WHERE clause missing key column for disjunct: {text}")
    if len(found) < len(keys):
        specified = ", ".join(f"`{n}`" for n in found)
        raise StatementError(
            "Multi-column sources must specify every key in the WHERE clause. "
            f"Specified: [{specified}] Expected: [{format_schema(source.schema.key)}]"
        )
    if not ranges_allowed and any(op in _RANGES for op in found.values()):
        raise StatementError(_SCAN)


def _joined(branch: Branch) -> ast.Expression:
    whole = branch[0]
    for e in branch[1:]:
        whole = ast.Logical("AND", whole, e)
    return whole


def _key_comparison(e: ast.Expression, keys: dict[str, Column]) -> tuple[str, str] | None:
    """Return key column and operator of a comparison; None if it concerns no key."""
    match e:
        case ast.Comparison(op=op, left=left, right=right):
            sides = [(left, right), (right, left)]
        case ast.In(value=value, items=items):
            return _membership(value, items, keys)
        case _:
            return None
    for side, other in sides:
        if isinstance(side, ast.ColumnRef) and side.name in keys:
            return side.name, _operator(op, side is right, other, keys[side.name])
    if any(_mentions(side, keys) for side in (left, right)):
        raise StatementError("A comparison must directly reference a key column.")
    return None


def _operator(op: str, flipped: bool, other: ast.Expression, key: Column) -> str:
    if any(isinstance(n, ast.ColumnRef) for n in ast.walk(other)):
        raise StatementError("A comparison must be between a key column and a resolvable expression.")
    if isinstance(other, ast.Literal) and other.value is None:
        raise StatementError(f"Primary key columns can not be NULL: ({key.name} {op} null)")
    if op == "<>":
        raise StatementError(f"Bound on key columns '[{format_schema([key])}]' must currently be '='.")
    if flipped and op in _RANGES:
        return _RANGES[(_RANGES.index(op) + 2) % 4]
    return op


def _membership(
    value: ast.Expression, items: Sequence[ast.Expression], keys: dict[str, Column]
) -> tuple[str, str] | None:
    if not isinstance(value, ast.ColumnRef):
        if _mentions(value, keys):
            raise StatementError("A comparison must directly reference a key column.")
        return None
    if value.name not in keys:
        return None
    if any(isinstance(n, ast.ColumnRef) for item in items for n in ast.walk(item)):
        raise StatementError("A comparison must be between a key column and a resolvable expression.")
    return value.name, "="


def _mentions(e: ast.Expression, keys: dict[str, Column]) -> bool:
    return any(isinstance(n, ast.ColumnRef) and n.name in keys for n in ast.walk(e))


def check_key_literals(where: ast.Expression | None, source: Source) -> None:
    """Refuse IN lists over a key column that hold NULL, or text where the key is a number.

    Elsewhere text in an IN list becomes a number; keys are looked up as they are written.

    Raises
    ------
    StatementError
    """
    if where is None:
        return
    keys = {c.name: c for c in source.schema.key}
    for node in ast.walk(where):
        if isinstance(node, ast.In) and isinstance(node.value, ast.ColumnRef) and node.value.name in keys:
            for item in node.items:
                if isinstance(item, ast.Literal):
                    _check_key_literal(item, keys[node.value.name])


def _check_key_literal(item: ast.Literal, key: Column) -> None:
    if item.value is None:
        raise StatementError(f"Primary key columns can not be NULL: ({key.name} = null)")
    if item.type == STRING and (key.type == BOOLEAN or numeric_rank(key.type) is not None):
        raise StatementError(
            f"{item} can not be converted to the type of the key column: {key.name} {key.type} KEY"
        )
