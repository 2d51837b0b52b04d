"""What a statement answers: rows with their schema, or a message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import pyarrow as pa

from kalam_jupyter.engine.types import DataType, from_arrow, to_arrow
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.types import from_arrow_type, from_json_type, json_type

Row = tuple[Any, ...]


@dataclass(frozen=True)
class ResultColumn:
    """One column of a result: its name, type, and the flags ``nn``, ``pk``, ``uq`` of a table's column."""

    name: str
    type: DataType
    flags: tuple[str, ...] = ()
    #: unit a Timestamp's numbers are in; what is not "us" is passed through as it is
    unit: str = "us"
    #: whether JSON text goes out as the object it holds
    nested: bool = False

    def json(self, index: int) -> dict[str, Any]:
        """Return the entry of the result schema."""
        found = {"name": self.name, "data_type": json_type(self.type), "index": index}
        if self.flags:
            found["flags"] = list(self.flags)
        return found


class Result:
    """The outcome of one statement.

    Attributes
    ----------
    kind : str
        ``rows`` or ``message``.
    columns : tuple of ResultColumn
        Empty for messages.
    row_count : int
        Rows returned, or affected; 0 for DDL.
    message : str or None
        None for rows.
    as_user : str
        User id the statement ran as.
    masked : bool
        Whether secret columns are hidden whoever asks: the statement ran as an ordinary user.
    schema_json : bytes or None
        The schema as JSON, if it is known.
    encode : callable or None
        Makes the JSON of the rows, secret columns not hidden; None for the ordinary way.
    """

    __slots__ = (
        "_rows",
        "_table",
        "as_user",
        "columns",
        "encode",
        "kind",
        "masked",
        "message",
        "row_count",
        "schema_json",
    )

    def __init__(
        self,
        kind: Literal["rows", "message"],
        columns: tuple[ResultColumn, ...] = (),
        *,
        table: pa.Table | None = None,
        rows: Sequence[Row] | None = None,
        row_count: int = 0,
        message: str | None = None,
        as_user: str = "",
    ) -> None:
        self.kind, self.columns, self._table, self._rows = kind, columns, table, rows
        self.row_count, self.message, self.as_user = row_count, message, as_user
        self.masked = False
        self.schema_json: bytes | None = None
        self.encode: Callable[[], bytes] | None = None

    @classmethod
    def say(cls, message: str, row_count: int = 0) -> Result:
        """Make a message."""
        return cls("message", message=message, row_count=row_count)

    @classmethod
    def of_rows(
        cls,
        columns: Sequence[ResultColumn],
        rows: Sequence[Row],
        schema_json: bytes | None = None,
        encode: Callable[[], bytes] | None = None,
    ) -> Result:
        """Make a result of rows of physical values, with their JSON where it is known or quickly made."""
        result = cls("rows", tuple(columns), rows=rows, row_count=len(rows))
        result.schema_json, result.encode = schema_json, encode
        return result

    @classmethod
    def of_table(cls, table: pa.Table) -> Result:
        """Make a result of what the query engine returned; field metadata name the KalamDB types."""
        return cls("rows", tuple(map(result_column, table.schema)), table=table, row_count=table.num_rows)

    @property
    def schema(self) -> list[dict[str, Any]]:
        """The result schema as JSON values."""
        return [c.json(i) for i, c in enumerate(self.columns)]

    @property
    def table(self) -> pa.Table | None:
        """The rows as an Arrow table; None for messages."""
        if self._table is None and self._rows is not None:
            lists = zip(*self._rows, strict=True) if self._rows else [()] * len(self.columns)
            arrays = [to_arrow(list(v), c.type) for v, c in zip(lists, self.columns, strict=True)]
            self._table = pa.Table.from_arrays(arrays, names=[c.name for c in self.columns])
        return self._table

    @property
    def physical_rows(self) -> Sequence[Row] | None:
        """The rows as tuples when the result was made of them; None when it is Arrow."""
        return self._rows

    def rows(self) -> Sequence[Row]:
        """Return the rows as tuples of physical values."""
        if self._rows is None:
            if self._table is None:
                return []
            lists = [from_arrow(self._table.column(i), c.type) for i, c in enumerate(self.columns)]
            return list(zip(*lists, strict=True))
        return self._rows


# ---- types and flags travel through the query engine as field metadata -------------------------------------

_TYPE, _FLAGS = b"kalam_data_type", b"kalam_flags"


def annotated_schema(table: TableDef) -> pa.Schema:
    """Return the Arrow schema of a table whose fields say their KalamDB type and flags; made once for a
    definition."""
    found: pa.Schema | None = table.derived.get("annotated_schema")
    if found is None:
        found = table.derived["annotated_schema"] = _table_schema(table)
    return found


def _table_schema(table: TableDef) -> pa.Schema:
    return pa.schema(
        [_annotated(f, c.type, table.flags) for f, c in zip(table.schema.arrow, table.schema, strict=True)]
    )


def _annotated(field: pa.Field, type_: DataType, flags: dict[str, tuple[str, ...]]) -> pa.Field:
    metadata = {_TYPE: orjson.dumps(json_type(type_))}
    if field.name in flags:
        metadata[_FLAGS] = ",".join(flags[field.name]).encode()
    return field.with_metadata(metadata)


def annotate(schema: pa.Schema, types: Sequence[DataType], flags: dict[str, tuple[str, ...]]) -> pa.Schema:
    """Return `schema` whose fields say their KalamDB type and flags."""
    return pa.schema([_annotated(f, t, flags) for f, t in zip(schema, types, strict=True)])


def result_column(field: pa.Field) -> ResultColumn:
    """Read the KalamDB type and flags off a result field."""
    metadata = field.metadata or {}
    said = metadata.get(_TYPE)
    computed = from_arrow_type(field.type)
    type_ = computed
    if said is not None:
        declared = from_json_type(orjson.loads(said))
        # an expression may keep its operand's metadata: believe it only where the storage agrees
        if declared.arrow == field.type or (
            pa.types.is_string_view(field.type) and declared.arrow == pa.string()
        ):
            type_ = declared
    flags = metadata.get(_FLAGS)
    unit = field.type.unit if pa.types.is_timestamp(field.type) or pa.types.is_time(field.type) else "us"
    return ResultColumn(field.name, type_, tuple(flags.decode().split(",")) if flags else (), unit)


def python_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """Return Arrow rows as Python values that `coercer` takes: temporals as datetimes, nothing cut off."""
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
        columns.append(column.to_pylist())
    return list(zip(*columns, strict=True)) if columns else []
