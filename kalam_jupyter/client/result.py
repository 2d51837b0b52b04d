"""What one statement gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kalam_jupyter.client.errors import ClientError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from kalam_jupyter.client.stream import Stream

Dialect = Literal["ksql", "kalam"]


@dataclass(frozen=True)
class Result:
    """The result of one statement.

    Attributes
    ----------
    kind : {"rows", "entity", "message", "stream"}
        ``rows``: a finished SELECT, in `table`. ``entity``: an answer of ksqlDB's ``/ksql``, in
        `entity` (LIST, DESCRIBE, CREATE, ...). ``message``: only `message` and perhaps a
        `row_count`. ``stream``: a push query, PRINT or live query that goes on, in `stream`.
    dialect : {"ksql", "kalam"}
    statement : str
        The statement's text, "" where the API does not give it.
    table : pyarrow.Table or None
    key : tuple of str
        Names of the key columns of `table`.
    entity : mapping or None
    message : str
        One line for people; "" when there is nothing to say.
    row_count : int
        Rows returned, or rows that the statement changed.
    stream : Stream or None
    """

    kind: Literal["rows", "entity", "message", "stream"]
    dialect: Dialect
    statement: str = ""
    table: pa.Table | None = None
    key: tuple[str, ...] = ()
    entity: Mapping[str, Any] | None = None
    message: str = ""
    row_count: int = 0
    stream: Stream | None = None

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame with Arrow-backed columns, without copying them.

        Raises
        ------
        ValueError
            If the statement gave no rows.
        """
        if self.table is None:
            raise ValueError(f"a result of kind '{self.kind}' has no rows")
        return to_frame(self.table)


def rows_of(results: Sequence[Result], name: str) -> pa.Table:
    """Return the rows of the one SELECT that read `name`.

    Raises
    ------
    ClientError
        If it gave none.
    """
    table = results[0].table
    if table is None:
        raise ClientError(f"'{name}' has no rows to read")
    return table


def to_frame(table: pa.Table) -> pd.DataFrame:
    """View an Arrow table as a DataFrame with ArrowDtype columns."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
