"""Whether a persistent query may take the place of another (CREATE OR REPLACE) and go on from its state.

Filters and projections hold no state: they come, go and change freely where nothing behind them depends on
what they let through. All other steps have to stay as they are, but for more aggregates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.expressions.bound import Bound, ColumnValue
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import ROWTIME
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.query_plan import QueryPlan

_JOINS = {
    "STREAM_STREAM": "StreamStreamJoin",
    "STREAM_TABLE": "StreamTableJoin",
    "TABLE_TABLE": "TableTableJoin",
    "FOREIGN_KEY": "ForeignKeyTableTableJoin",
}


def check_query_upgrade(query_id: str, old: QueryPlan, new: QueryPlan) -> None:
    """Refuse a query that could not go on from the state of the one it replaces.

    Raises
    ------
    StatementError
        The texts are those of the language's contract, 2.2.
    """
    if _signature(old.root) == _signature(new.root):
        return
    problem = _problem(old, new)
    if problem is not None:
        raise StatementError(f"Cannot upgrade query {query_id}: {problem}")


def _problem(old: QueryPlan, new: QueryPlan) -> str | None:
    for step in (*old.root.walk(), *new.root.walk()):
        name = _fixed(step)
        if name is not None:
            return f"Upgrades not yet supported for {name}"
    before, after = _enforced(old.root), _enforced(new.root)
    kinds = [_name(s) for s in before], [_name(s) for s in after]
    if kinds[0] != kinds[1]:
        return f"The steps must stay the same. Values differ: {_list(kinds[0])} vs. {_list(kinds[1])}"
    for a, b in zip(before, after, strict=True):
        if not isinstance(a, steps.AggregateStep) and _own(a) != _own(b):
            return f"{_name(a)} must have matching properties. Values differ: {_own(a)[1:]} vs. {_own(b)[1:]}"
    if old.aggregation is not None:
        return _aggregation_problem(old, new)
    return None


def _aggregation_problem(old: QueryPlan, new: QueryPlan) -> str | None:
    lists = sorted((_needed_columns(old), _needed_columns(new)), key=len, reverse=True)
    if set(lists[0]) != set(lists[1]):
        names = [_list([f"`{n}`" for n in columns]) for columns in lists]
        return (
            "StreamAggregate must have matching columns not part of aggregate. "
            f"Values differ: {names[0]} vs. {names[1]}"
        )
    calls = _calls(old.root), _calls(new.root)
    if calls[1][: len(calls[0])] != calls[0]:
        return (
            f"StreamAggregate can only add aggregates. Values differ: {_list(calls[0])} vs. {_list(calls[1])}"
        )
    if _having(old.root) != _having(new.root):
        return "Upgrades not yet supported for TableFilter"
    return None


def _fixed(step: steps.Step) -> str | None:
    """Return the name of a step whose query cannot change at all."""
    if isinstance(step, steps.JoinStep):
        return _JOINS[step.join_type]
    if isinstance(step, steps.AggregateStep):
        if step.window is not None:
            return "StreamWindowedAggregate"
        if step.input.table:
            return "TableAggregate"
    return None


def _enforced(root: steps.Step) -> list[steps.Step]:
    """Return the steps that have to stay as they are."""
    return [s for s in root.walk() if not isinstance(s, steps.FilterStep | steps.ProjectStep)]


def _name(step: steps.Step) -> str:
    kind = "Table" if step.table else "Stream"
    return f"{kind}{type(step).__name__.removesuffix('Step')}"


def _calls(root: steps.Step) -> list[str]:
    found = [s for s in root.walk() if isinstance(s, steps.AggregateStep)]
    return [a.text for step in found for a in step.aggregates]


def _having(root: steps.Step) -> list[str]:
    """Return the filters behind the aggregation."""
    texts = []
    for step in root.walk():
        if isinstance(step, steps.AggregateStep):
            break
        if isinstance(step, steps.FilterStep):
            texts.append(step.text)
    return texts


def _needed_columns(plan: QueryPlan) -> list[str]:
    """Return the input columns of SELECT, WHERE and GROUP BY, in this order."""
    names = [name for item in plan.items for name in _references(item.expression)]
    filters = [s for s in plan.root.walk() if isinstance(s, steps.FilterStep) and not s.table]
    groups = [s for s in plan.root.walk() if isinstance(s, steps.GroupByStep)]
    names += _columns([f.predicate for f in filters])
    names += _columns([e for g in groups for e in g.expressions])
    return list(dict.fromkeys(names))


def _references(expression: ast.Expression) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.ColumnRef):
            yield node.name
        elif isinstance(node, ast.FunctionCall) and node.name == "COUNT" and not node.args:
            yield ROWTIME


def _columns(expressions: Sequence[Bound]) -> list[str]:
    return [node.name for e in expressions for node in e.walk() if isinstance(node, ColumnValue)]


def _list(names: Sequence[str]) -> str:
    return f"[{', '.join(names)}]"


def _own(step: steps.Step) -> tuple[object, ...]:
    """Return what a step does, without its inputs, as values that can be compared and read."""
    kind = _name(step)
    match step:
        case steps.SourceStep():
            return (kind, step.source.name, step.source.topic)
        case steps.FilterStep() | steps.JoinKeyStep():
            return (kind, step.text)
        case steps.SelectKeyStep() | steps.FlatMapStep() | steps.GroupByStep():
            return (kind, *step.text)
        case steps.ProjectStep():
            return (kind, *step.text, *(name for name, _ in step.select), *(c.name for c in step.key))
        case steps.AggregateStep():
            return (kind, step.window, step.emit_final, *(a.text for a in step.aggregates))
        case steps.JoinStep():
            foreign = () if step.foreign_key is None else tuple(_columns([step.foreign_key]))
            span = (step.before_ms, step.after_ms, step.grace_ms)
            return (kind, step.join_type, step.kind, *span, *foreign)
    return (kind,)


def _signature(step: steps.Step) -> tuple[object, ...]:
    return (*_own(step), *map(_signature, step.inputs))
