"""``df.kalam``: from a DataFrame to a stream or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kalam_jupyter.client import ClientError
from kalam_jupyter.client.connections import connections
from kalam_jupyter.magics.journal import journals
from kalam_jupyter.magics.options import Options

if TYPE_CHECKING:
    import pandas as pd

    from kalam_jupyter.client import Connection, Replay


class KalamAccessor:
    """What a DataFrame can do with the current connection."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def to_stream(
        self,
        name: str,
        *,
        key: str | None = None,
        timestamp: str | None = None,
        rate: float | None = None,
        connection: Connection | None = None,
    ) -> Replay:
        """Send the rows to a ksqlDB stream, declaring it when it is not there.

        Parameters
        ----------
        name : str
            The stream; its columns are the frame's.
        key : str, optional
            Column that becomes the record key.
        timestamp : str, optional
            Column whose values become the records' event times; the rows are sent in its order.
        rate : float, optional
            Rows a second, sent in the background; at once when it is missing, in appends of 100,000.
        connection : Connection, optional
            The notebook's current one by default.

        Returns
        -------
        Replay
            Tells how far it is; `wait` and `stop` do what they say.

        Raises
        ------
        ClientError
            If the frame does not fit the stream, or holds types that SQL has not.
        """
        target = connection or connections.current
        was_there = _declaration(target, name)
        replay = target.stream_frame(self._frame, name, key=key, timestamp=timestamp, rate=rate)
        _journal(target, name, was_there)
        return replay

    def to_table(self, name: str, *, key: str | None = None, connection: Connection | None = None) -> int:
        """Write the rows into a table; a row replaces the one with the same key.

        Parameters
        ----------
        name : str
            ``namespace.table`` of KalamDB, else a ksqlDB table; made when it is not there.
        key : str, optional
            Its key column; needed when the table is made here.
        connection : Connection, optional
            The notebook's current one by default.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        ClientError
            If the frame does not fit the table, or lacks the key.
        """
        target = connection or connections.current
        was_there = "." in name or _declaration(target, name)  # KalamDB's CREATE TABLE is not told
        written = target.table_frame(self._frame, name, key=key)
        _journal(target, name, was_there)
        return written


def _declaration(connection: Connection, name: str) -> str:
    """Return the statement that made a stream or table of ksqlDB; "" if there is none of this name."""
    from kalam_jupyter.ksql.inserts import column_name
    from kalam_jupyter.ksql.lang.format import quote

    try:
        (described,) = connection.ksql(f"DESCRIBE {quote(column_name(name))};")
    except ClientError:
        return ""
    return str((described.entity or {}).get("sourceDescription", {}).get("statement", ""))


def _journal(connection: Connection, name: str, was_there: object) -> None:
    """Let `export` tell what was declared for a frame; the statements of other cells need it."""
    if not was_there and (declared := _declaration(connection, name)):
        journals.of(connection).add(declared, "ksql", Options())


def register() -> None:
    """Give DataFrames their ``kalam`` attribute."""
    import pandas as pd

    if getattr(pd.DataFrame, "kalam", None) is not KalamAccessor:
        pd.api.extensions.register_dataframe_accessor("kalam")(KalamAccessor)
