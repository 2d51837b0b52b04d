"""A query in the notebook that is fed one record at a time: every operator's input, output and state."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets as t

from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.widgets import _assets
from kalam_jupyter.widgets.readable import readable
from kalam_jupyter.widgets.shown import ShownWidget
from kalam_jupyter.widgets.snapshot import EPOCH_COLUMNS, cell_text

if TYPE_CHECKING:
    import pandas as pd

    from kalam_jupyter.client import Connection
    from kalam_jupyter.ksql.stepping import OperatorStep, RecordView, StateTable, Step, Stepping

#: More is nothing to step through by hand, and every one stays in the notebook.
MAX_STEPS = 1_000
_BOUNDS = ("WINDOWSTART", "WINDOWEND")
#: Columns of states that hold event times, besides `EPOCH_COLUMNS`.
_TIMES = EPOCH_COLUMNS | {"JOINS FROM", "JOINS TO"}


class Stepper(ShownWidget):
    """A ksqlDB query, fed by hand.

    The query runs on its own: nothing is read from topics and nothing is written. In the browser one steps
    forth and back through the records, and adds others.

    Parameters
    ----------
    query : str
        A SELECT, CREATE .. AS SELECT or INSERT INTO .. SELECT over streams and tables of the connection; or
        the id of a persistent query.
    records : optional
        A sequence of mappings of columns to values, or of (source, mapping); a DataFrame or Arrow table; or a
        mapping of source to any of these, which are then merged by event time. That is the source's TIMESTAMP
        column, else ``ROWTIME``: milliseconds, a datetime or its text; without it each record is a second
        later than the one before.
        For a table, key columns alone delete the row.
    connection : Connection, optional
        The notebook's current one by default.
    timestamp : str, optional
        Column of the records that gives the event time.

    Attributes
    ----------
    position : int
        How many of the records were fed so far, as it is shown.

    Raises
    ------
    ClientError
        If it is no query, cannot be planned, or a record does not fit.
    """

    _esm: ClassVar[str] = _assets.esm("common", "stepper")
    _css: ClassVar[str] = _assets.css("common", "stepper")

    title = t.Unicode().tag(sync=True)
    nodes = t.List(t.Dict()).tag(sync=True)
    sources = t.List(t.Dict()).tag(sync=True)
    keyed = t.Bool().tag(sync=True)
    steps = t.List(t.Dict()).tag(sync=True)
    position = t.Int(0).tag(sync=True)
    error = t.Unicode().tag(sync=True)

    def __init__(
        self,
        query: str,
        records: Any = (),
        *,
        connection: Connection | None = None,
        timestamp: str | None = None,
    ) -> None:
        if connection is None:
            from kalam_jupyter.client.connections import connections

            connection = connections.current
        self._stepping: Stepping = connection.stepping(query)
        self._take(records, timestamp)
        # All there is goes with the message that makes the widget: a page that loads the widgets of a running
        # kernel may put the state of that moment over changes that come right behind it.
        super().__init__(
            title=self._stepping.statement,
            nodes=[{**node, "shown": readable(node["detail"])} for node in self._stepping.nodes],
            sources=[_source(s) for s in self._stepping.sources.values()],
            keyed=self._stepping.is_table,
            steps=[_step(s) for s in self._stepping.steps],
        )
        self.on_msg(self._on_message)

    # ---- what people call

    def feed(self, records: Any, *, timestamp: str | None = None) -> None:
        """Add records behind those there are, and go to the last.

        Parameters
        ----------
        records, timestamp
            As for the class.

        Raises
        ------
        ClientError
            If one does not fit. Those before it were fed.
        """
        try:
            self._take(records, timestamp)
        finally:
            done = len(self.steps)
            self.steps = [*self.steps, *(_step(s) for s in self._stepping.steps[done:])]
            self.position = len(self.steps)
            self.update_snapshot()

    def _take(self, records: Any, timestamp: str | None) -> None:
        try:
            self._stepping.feed(records, timestamp=timestamp, limit=MAX_STEPS)
        except KsqlError as error:
            raise ClientError(error.message, code=str(error.error_code)) from None

    def step(self) -> Step | None:
        """Go on by one record; None when there are no more.

        Returns
        -------
        Step
            The record, what each operator got and gave, its state before and after, and what was emitted.
        """
        if self.position >= len(self._stepping.steps):
            return None
        self.position += 1
        return self.seen[-1]

    def back(self) -> None:
        """Go back by one record."""
        self.position = max(0, self.position - 1)

    @property
    def seen(self) -> list[Step]:
        """What happened, up to where it stands."""
        return self._stepping.steps[: self.position]

    def frame(self) -> pd.DataFrame:
        """Return what the query emitted up to where it stands: a row for each record emitted.

        ``STEP`` is the number of the record that caused it, ``DELETED`` whether it is a tombstone.
        """
        import pandas as pd

        rows = [
            {
                "STEP": step.number,
                "ROWTIME": pd.Timestamp(out.rowtime, unit="ms"),
                **(out.key or {}),
                **{
                    name: pd.Timestamp(ms, unit="ms")
                    for name, ms in zip(_BOUNDS, out.window or (), strict=False)
                },
                **(out.value or {}),
                "DELETED": out.value is None,
            }
            for step in self.seen
            for out in step.outputs
        ]
        if not rows:
            return pd.DataFrame(columns=["STEP", "ROWTIME", "DELETED"])
        names = dict.fromkeys(name for row in rows for name in row)
        return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in names})

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        match content:
            case {"type": "feed", "source": str(source), "values": dict(values)}:
                try:
                    self.feed([(source, values)])
                except ClientError as error:
                    self.error = error.message
                else:
                    self.error = ""

    # ---- display

    def _snapshot(self) -> dict[str, str]:
        return {"text/html": _page(self), "text/plain": _text(self)}


# ---- as JSON for the browser


def _column(values: list[Any]) -> pd.Series[Any]:
    """Return a column whose integers stay integers where a tombstone has none."""
    import pandas as pd

    present = [value for value in values if value is not None]
    is_integers = present and all(type(value) is int for value in present)
    return pd.Series(values, dtype="Int64") if is_integers else pd.Series(values)


def _source(source: Any) -> dict[str, Any]:
    stored = source.stored_schema
    columns = [{"name": c.name, "type": str(c.type), "key": c.key} for c in stored]
    return {"name": source.name, "kind": source.kind, "columns": columns}


def _step(step: Step) -> dict[str, Any]:
    return {
        "number": step.number,
        "source": step.record.source,
        "record": _record(step.given),
        "operators": [_operator(o) for o in step.operators],
        "outputs": [_record(r) for r in step.outputs],
        "reports": list(step.reports),
    }


def _operator(done: OperatorStep) -> dict[str, Any]:
    return {
        "node": done.node,
        "note": done.note,
        "inputs": [_record(r) for r in done.inputs],
        "outputs": [_record(r) for r in done.outputs],
        "state": [_state(table) for table in done.after.tables],
        "streamTime": done.after.stream_time,
    }


def _record(r: RecordView) -> dict[str, Any]:
    return {
        "key": _cells(r.key),
        "value": _cells(r.value),
        "old": _cells(r.old),
        "time": r.rowtime,
        "window": None if r.window is None else list(r.window),
        "via": r.via,
    }


def _cells(values: Mapping[str, Any] | None) -> list[list[Any]] | None:
    return None if values is None else [[name, _cell(v, name)] for name, v in values.items()]


def _cell(value: Any, column: str) -> Any:
    """Text; numbers where the browser has to know them as times."""
    if value is None or (column in _TIMES and isinstance(value, int)):
        return value
    return cell_text(value)


def _state(table: StateTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "columns": list(table.columns),
        "keys": table.num_keys,
        "rows": [[_cell(v, c) for v, c in zip(row, table.columns, strict=True)] for row in table.rows],
    }


# ---- as it is saved


def _page(stepper: Stepper) -> str:
    shown = stepper._stepping.steps
    kinds = {node["id"]: node["kind"] for node in stepper._stepping.nodes}
    rows = "\n".join(
        f'<tr><td>{step.number}</td><td style="text-align:left">{_html(_record_text(step))}</td>'
        f'<td style="text-align:left">{"<br>".join(_html(s) for s in _said(step, kinds))}</td>'
        f'<td style="text-align:left">{"<br>".join(_html(_emitted(r)) for r in step.outputs)}</td></tr>'
        for step in shown
    )
    head = "".join(
        f'<th style="text-align:left">{name}</th>' for name in ("", "record", "what it did", "emitted")
    )
    title = " ".join(stepper.title.split())
    return (
        '<div style="overflow:auto">\n<table border="0" class="dataframe klt-snapshot">\n'
        f'<caption style="text-align:left;caption-side:top"><code>{_html(title)}</code></caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _text(stepper: Stepper) -> str:
    kinds = {node["id"]: node["kind"] for node in stepper._stepping.nodes}
    lines = [stepper.title]
    for step in stepper._stepping.steps:
        lines.append(f"{step.number}. {_record_text(step)}")
        lines += [f"     {said}" for said in _said(step, kinds)]
        lines += [f"   → {_emitted(r)}" for r in step.outputs]
    return "\n".join(lines)


def _html(text: str) -> str:
    return html.escape(text)


def _record_text(step: Step) -> str:
    return f"{cell_text(step.given.rowtime, 'ROWTIME')} {step.record.source}: {_values(step.given)}"


def _emitted(r: RecordView) -> str:
    window = ""
    if r.window is not None:
        start, end = (cell_text(ms, "WINDOWSTART") for ms in r.window)
        window = f" [{start} – {end}]"
    return f"{_values(r)}{window}"


def _values(r: RecordView) -> str:
    parts = [f"{name}={cell_text(v, name)}" for name, v in (r.key or {}).items()]
    if r.value is None:
        return ", ".join([*parts, "deleted"])
    parts += [f"{n}={cell_text(v, n)}" for n, v in r.value.items() if n not in (r.key or {})]
    return ", ".join(parts)


def _said(step: Step, kinds: Mapping[str, str]) -> Sequence[str]:
    return [f"{kinds[o.node].lower()}: {o.note}" for o in step.operators if o.note] + list(step.reports)
