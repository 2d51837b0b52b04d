"""Records as people write them, and as operators show them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    DOUBLE,
    INTEGER,
    STRING,
    Array,
    Column,
    DataType,
    Map,
    Struct,
    from_arrow,
    to_arrow,
)
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.inserts import column_name, folded
from kalam_jupyter.ksql.metastore import ROWTIME, Source
from kalam_jupyter.ksql.operators.record import Row
from kalam_jupyter.ksql.runtime.timestamps import timestamp_extractor, timestamp_parser
from kalam_jupyter.ksql.values.errors import EvaluationError

_PLAIN = (BOOLEAN, INTEGER, BIGINT, DOUBLE, STRING)


@dataclass(frozen=True)
class SourceRecord:
    """One record for a source.

    Attributes
    ----------
    source : str
        Name of the stream or table.
    key, value : tuple or None
        Physical values in the order of the source's columns. A None value deletes a row of a table.
    rowtime : int
        Milliseconds since 1970.
    """

    source: str
    key: tuple[Any, ...] | None
    value: tuple[Any, ...] | None
    rowtime: int


@dataclass(frozen=True)
class RecordView:
    """A record between two operators, with names.

    Attributes
    ----------
    key : mapping or None
        Key columns.
    value : mapping or None
        The other columns; None is a tombstone.
    rowtime : int
        Milliseconds since 1970.
    window : (int, int) or None
        Start and end of the key's window.
    old : mapping or None
        The values it replaces, where an operator before knows them.
    via : str
        Id of the node it came from, "" for what a source reads.
    """

    key: Mapping[str, Any] | None
    value: Mapping[str, Any] | None
    rowtime: int
    window: tuple[int, int] | None = None
    old: Mapping[str, Any] | None = None
    via: str = ""


def listed(records: Any, timestamp: str | None = None) -> list[tuple[str | None, Mapping[str, Any]]]:
    """Return records, in whatever form, with the names of their sources.

    Parameters
    ----------
    records
        A sequence of mappings, or of (source, mapping); a DataFrame or Arrow table; or a mapping of source to
        any of these.
    timestamp : str, optional
        Column that gives the event time; frames are sorted by it.

    Raises
    ------
    KsqlError
        If it is nothing of that.
    """
    if isinstance(records, Mapping):
        return [(name, values) for name, part in records.items() for _, values in listed(part, timestamp)]
    if hasattr(records, "columns") and hasattr(records, "to_dict"):
        records = pa.Table.from_pandas(records, preserve_index=False)
    if isinstance(records, pa.Table):
        table = records if timestamp is None else records.sort_by(timestamp)
        records = table.to_pylist(maps_as_pydicts="lossy")
    found: list[tuple[str | None, Mapping[str, Any]]] = []
    for record in records:
        source, values = record if isinstance(record, tuple | list) and len(record) == 2 else (None, record)
        if not isinstance(values, Mapping):
            raise KsqlError(
                f"A record is a mapping of columns to values, or (source, mapping), not {record!r}"
            )
        if timestamp is not None:
            if timestamp not in values:
                raise KsqlError(f"A record has no {timestamp}, which is to give its event time: {values!r}")
            values = {**values, ROWTIME: values[timestamp]}
        found.append((source, values))
    return found


def source_record(source: Source, values: Mapping[str, Any], after: int | None) -> SourceRecord:
    """Return the record that some named values make.

    Its event time is that of the source's TIMESTAMP column, else its ROWTIME: milliseconds, a datetime, or
    its text (UTC).

    Parameters
    ----------
    values : mapping
        By column; unquoted names fold to upper case, missing columns are NULL. Texts are read as the column's
        type. For a table, key columns alone are a tombstone.
    after : int or None
        Event time of a record that says none, milliseconds; None: it must say one.

    Raises
    ------
    KsqlError
        If a column is not there, a value does not fit, or there is no event time.
    """
    members = {_name(name): value for name, value in values.items()}
    given = members.pop(ROWTIME, None)
    stored = source.stored_schema
    unknown = [n for n in members if n not in stored.index]
    if unknown:
        known = ", ".join(stored.names)
        raise KsqlError(f"{source.name} has no column {', '.join(unknown)}; it has {known}")
    key = tuple(physical(members.get(c.name), c) for c in stored.key)
    only_key = bool(key) and not source.is_stream and not any(c.name in members for c in stored.value)
    value = None if only_key else tuple(physical(members.get(c.name), c) for c in stored.value)
    keyed = None if not key or key == (None,) else key
    rowtime = _column_time(source, keyed, value)
    if rowtime is None:
        rowtime = after if given is None else moment(given)
    if rowtime is None:
        raise KsqlError(
            f"Records of several sources are merged by event time: give them a ROWTIME: {values!r}"
        )
    return SourceRecord(source.name, keyed, value, rowtime)


def _column_time(source: Source, key: Row | None, value: Row | None) -> int | None:
    """Return what a source's TIMESTAMP column says, if it says a time."""
    extract = timestamp_extractor(source, timestamp_parser(source))
    if extract is None or value is None:
        return None
    try:
        return extract(key, value)
    except EvaluationError:  # the reader reports it
        return None


def _name(name: str) -> str:
    """Return a column's name: as it stands in backquotes, else folded."""
    return folded(name) if name.startswith("`") else column_name(name)


def moment(value: Any) -> int:
    """Return milliseconds since 1970 of a number, a datetime or its text.

    Raises
    ------
    KsqlError
    """
    if isinstance(value, str) and value.strip().lstrip("-").isdigit():
        value = int(value)
    if isinstance(value, bool | float):
        raise KsqlError(f"ROWTIME takes milliseconds, a datetime or its text, not {value!r}")
    if isinstance(value, int):
        return value
    try:
        found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value.to_pydatetime()
    except ValueError:
        raise KsqlError(f"ROWTIME '{value}' is no time; write it like 2026-05-01T12:00:00") from None
    except AttributeError:
        found = value
    if not isinstance(found, datetime):
        raise KsqlError(f"ROWTIME takes milliseconds, a datetime or its text, not {value!r}")
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def physical(value: Any, column: Column) -> Any:
    """Return a Python value as the physical value of a column; KsqlError if it does not fit."""
    if value is None:
        return None
    type_ = column.type
    try:
        if isinstance(value, str) and isinstance(type_, Array | Map | Struct):
            value = json.loads(value)
        shaped = _shaped(value, type_)
        if isinstance(value, str) and type_ != STRING:
            array = pc.cast(pa.array([shaped]), type_.arrow)
        else:
            array = pa.array([shaped], type=type_.arrow)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        raise KsqlError(f"{column.name} is {type_}, and {value!r} is not") from None
    return from_arrow(array, type_)[0]


def _shaped(value: Any, type_: DataType) -> Any:
    """Names of structs as they are declared, maps as pairs: what Arrow takes."""
    match type_:
        case Array(element) if isinstance(value, Sequence) and not isinstance(value, str):
            return [_shaped(v, element) for v in value]
        case Map(_, inner) if isinstance(value, Mapping):
            return [(k, _shaped(v, inner)) for k, v in value.items()]
        case Struct(fields) if isinstance(value, Mapping):
            members = {_name(k): v for k, v in value.items()}
            unknown = [name for name in members if name not in type_.index]
            if unknown:
                raise ValueError(f"no field {unknown[0]}")
            return {name: _shaped(members.get(name), t) for name, t in fields}
    return value


def shown(value: Any, type_: DataType) -> Any:
    """Return a physical value as people know it: dates as dates, structs as dicts."""
    if value is None or type_ in _PLAIN:
        return value
    return to_arrow([value], type_).to_pylist(maps_as_pydicts="lossy")[0]
