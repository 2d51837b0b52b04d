"""What an operator did with a record, in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.stepping.records import RecordView
from kalam_jupyter.ksql.stepping.views import StateView


def note(
    step: steps.Step,
    inputs: Sequence[RecordView],
    outputs: Sequence[RecordView],
    before: StateView,
    after: StateView,
) -> str:
    """Say what happened at a step, "" where there is nothing to say."""
    make = _NOTES.get(type(step))
    return "" if make is None else make(step, inputs, outputs, _changes(before, after))


def _changes(before: StateView, after: StateView) -> Counter[str]:
    """Count what happened to the rows of a state."""
    found: Counter[str] = Counter()
    for old, new in zip(before.tables, after.tables, strict=True):
        found.update(new.changes(old).values())
    return found


def _source(step: Any, inputs: Any, outputs: Any, changes: Counter[str]) -> str:
    if not outputs:
        # Where event time is a column's, the report says what was wrong with it.
        return "left out" if step.source.timestamp else "no key: not a row of the table, dropped"
    if not step.table or not inputs:
        return ""
    if inputs[-1].value is None:
        return "the row is deleted" if changes["removed"] or not step.materialize else "no such row"
    return "replaces the row" if changes["changed"] else "a new row" if changes["added"] else ""


def _filter(step: Any, inputs: Any, outputs: Any, changes: Counter[str]) -> str:
    if not outputs:
        return "is not true: left out"
    if outputs[-1].value is None:
        return "was in, and is no more: deleted"
    return ""


def _group(step: Any, inputs: Any, outputs: Any, changes: Counter[str]) -> str:
    return "" if outputs else "no value to group by: left out"


def _flat_map(step: Any, inputs: Any, outputs: Any, changes: Counter[str]) -> str:
    return f"{len(outputs)} rows of it" if len(outputs) != 1 else ""


def _aggregate(step: Any, inputs: Any, outputs: Any, changes: Counter[str]) -> str:
    if step.window is None:
        return _regroup(outputs) if step.input.table else "a new group" if changes["added"] else ""
    if step.window.info.type == "SESSION":
        return _session(step, outputs, changes)
    if not changes and not outputs:
        return "late: its window is closed, left out"
    said = []
    if changes["added"]:
        said.append(f"opens {_windows(changes['added'])}")
    if changes["changed"]:
        said.append(f"adds to {_windows(changes['changed'])}")
    lost = max(0, changes["removed"] - len(outputs)) if step.emit_final else 0
    if changes["removed"] > lost:
        said.append(f"closes {_windows(changes['removed'] - lost)}")
    if lost:
        said.append(f"loses {_windows(lost)}: purged before it could be emitted")
    return ", ".join(said)


def _regroup(outputs: Sequence[RecordView]) -> str:
    if len(outputs) == 2:
        return "taken out of one group, put into another"
    return ""


def _windows(count: int) -> str:
    return "a window" if count == 1 else f"{count} windows"


def _session(step: Any, outputs: Any, changes: Counter[str]) -> str:
    if not changes and not outputs:
        return "late: its session is over, left out"
    gone, new = changes["removed"], changes["added"]
    closed = sum(r.value is not None for r in outputs) if step.emit_final else 0
    said = []
    if new and gone - closed > 1:
        said.append(f"joins {gone - closed} sessions into one")
    elif new and gone - closed == 1:
        said.append("makes a session longer")
    elif new:
        said.append("opens a session")
    elif changes["changed"]:
        said.append("adds to a session")
    if closed:
        said.append(f"closes {closed} session{'s' * (closed != 1)}")
    return ", ".join(said)


def _join(step: Any, inputs: Any, outputs: Any, changes: Counter[str]) -> str:
    if any(r.key is None for r in inputs) and not outputs:
        return "no key: joins nothing"
    if step.join_type == "STREAM_STREAM":
        return _stream_join(step, outputs, changes)
    if step.join_type == "STREAM_TABLE" and changes:
        return "the table's row is kept, nothing is emitted"
    if not outputs:
        return "no row on the other side"
    if any(r.value is None for r in outputs):
        return "no longer joins: deleted"
    return ""


def _stream_join(step: Any, outputs: Any, changes: Counter[str]) -> str:
    if not outputs:
        return "is buffered, and waits for a match" if changes["added"] else "late: left out"
    text = f"{len(outputs)} result{'s' * (len(outputs) != 1)}"
    return f"{text}; buffered" if changes["added"] else text


_NOTES: dict[type[steps.Step], Callable[[Any, Any, Any, Counter[str]], str]] = {
    steps.SourceStep: _source,
    steps.FilterStep: _filter,
    steps.GroupByStep: _group,
    steps.FlatMapStep: _flat_map,
    steps.AggregateStep: _aggregate,
    steps.JoinStep: _join,
}
