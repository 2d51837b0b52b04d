"""One connection, whatever is behind it: an embedded engine, our server, a ksqlDB or KalamDB cluster."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.client.files import file_path, outgoing
from kalam_jupyter.client.messages import Message
from kalam_jupyter.client.replay import Replay
from kalam_jupyter.client.result import Result, rows_of
from kalam_jupyter.client.script import Part, split_script
from kalam_jupyter.client.session import Session
from kalam_jupyter.client.stream import Stream
from kalam_jupyter.client.transport import Transport

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from kalam_jupyter.ksql.plan.graph import TopologyData
    from kalam_jupyter.ksql.stepping import Stepping
    from kalam_jupyter.node import Node

#: KalamDB's bookkeeping, which `table` leaves out and SELECT * shows.
_SYSTEM_COLUMNS = ("_seq", "_deleted")

#: How deep scripts may run each other.
MAX_SCRIPT_DEPTH = 20


class Connection:
    """Runs statements of both dialects. Made by `connect`.

    Attributes
    ----------
    session : Session
        ksqlDB's session: what SET and DEFINE said so far.
    namespace : str
        KalamDB namespace of unqualified names.
    """

    def __init__(self, transport: Transport, *, namespace: str = "default") -> None:
        self._transport = transport
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self._lock = threading.Lock()
        self.session = Session()
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"Connection({self.target!r})"

    @property
    def target(self) -> str:
        """Where this leads: a URL, ``embedded``, or ``embedded:PATH``."""
        return self._transport.target

    @property
    def node(self) -> Node | None:
        """The embedded engine with its dialects, None when the engine is in another process."""
        return getattr(self._transport, "node", None)

    @property
    def streams(self) -> list[Stream]:
        """Streams of this connection that still run."""
        with self._lock:
            return [s for s in self._streams if not s.finished]

    def ksql(
        self,
        text: str,
        *,
        properties: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> list[Result]:
        """Run ksqlDB statements in order, one result each.

        SET, UNSET, DEFINE and UNDEFINE act on later statements and later calls, and RUN SCRIPT 'file' runs
        the statements of a file of this machine, as in ksqlDB's CLI. A push query or PRINT gives a result
        of kind ``stream`` at once.

        Parameters
        ----------
        text : str
            One or more statements; the last ``;`` may be missing.
        properties : mapping, optional
            Overrides such as ``{"auto.offset.reset": "earliest"}``, for this call only.
        variables : mapping, optional
            Values of ``${name}``, for this call only.

        Raises
        ------
        ClientError
            With the position in `text`. Statements before the failing one may have run, those in
            the same run of non-query statements have not.
        """
        results: list[Result] = []
        try:
            self._run_text(text, dict(properties or {}), dict(variables or {}), results)
        except BaseException:
            for result in results:
                if result.stream is not None:
                    result.stream.close()
            raise
        return results

    def _run_text(
        self,
        text: str,
        properties: dict[str, Any],
        variables: dict[str, str],
        results: list[Result],
        depth: int = 0,
    ) -> None:
        """Run statements and add their results to `results`, which the caller has whatever happens."""
        for part in split_script(text):
            if part.script is None:
                results += self._run_part(part, properties, variables)
                continue
            if depth == MAX_SCRIPT_DEPTH:
                raise ClientError(f"RUN SCRIPT '{part.script}': scripts run each other without end")
            try:
                inner = Path(part.script).expanduser().read_text(encoding="utf-8")
                self._run_text(inner, properties, variables, results, depth + 1)
            except OSError as error:
                raise ClientError(f"RUN SCRIPT '{part.script}': {error.strerror}") from None
            except UnicodeDecodeError:
                raise ClientError(f"RUN SCRIPT '{part.script}': not UTF-8 text") from None
            except ClientError as error:
                if error.line is None:
                    raise
                # The position is one of the file, not of the text that the caller wrote.
                raise ClientError(
                    f"RUN SCRIPT '{part.script}', line {error.line}: {error.message}",
                    code=error.code,
                    status=error.status,
                ) from error

    def _run_part(self, part: Part, properties: dict[str, Any], variables: dict[str, str]) -> list[Result]:
        properties = {**self.session.properties, **properties}
        variables = {**self.session.variables, **variables}
        if part.is_query:
            result = self._transport.ksql_query(part.text, properties, variables)
            if result.stream is not None:
                self._keep(result.stream)
            return [result]
        entities = self._transport.ksql_statements(part.text, properties, variables)
        self.session.apply(part.statements)
        return [_entity_result(entity) for entity in entities]

    def topology(self, query: str) -> TopologyData:
        """Return a ksqlDB query as a graph, for a picture.

        Parameters
        ----------
        query : str
            The id of a persistent query or of a push query that runs, or a statement that would start one.

        Returns
        -------
        dict
            `query_id`, `statement`, `state`, `error`, `time_ms`, `nodes` (each with `id`, `kind`, `label`,
            `detail`, `topic`, `schema`, `stores`, `records_in`, `records_out`, `lag`) and `edges`: see
            `kalam_jupyter.ksql.plan.graph`. On a ksqlDB cluster it is read from EXPLAIN, without counts.

        Raises
        ------
        ClientError
            If nothing runs under this id, or the statement starts no query.
        """
        return self._transport.ksql_topology(query, self.session.properties, self.session.variables)

    def stepping(self, query: str, *, properties: Mapping[str, Any] | None = None) -> Stepping:
        """Return a ksqlDB query to be fed by hand, record by record, with all its operators' states.

        Parameters
        ----------
        query : str
            A SELECT, CREATE .. AS SELECT or INSERT INTO .. SELECT; or the id of a persistent query, which
            goes on undisturbed.
        properties : mapping, optional
            As in `ksql`.

        Raises
        ------
        ClientError
            If it is no query, or cannot be planned.
        """
        from kalam_jupyter.client.stepping import open_stepping

        return open_stepping(self, query, {**self.session.properties, **(properties or {})})

    def kalam(
        self,
        text: str,
        params: Sequence[Any] = (),
        *,
        namespace: str | None = None,
        files: Mapping[str, bytes | Path] | None = None,
    ) -> list[Result]:
        """Run KalamDB statements.

        Parameters
        ----------
        text : str
        params : sequence, optional
            Values of ``$1``, ``$2``, ...: None, bool, int, float, str. One statement only.
        namespace : str, optional
            Of unqualified names; the connection's by default.
        files : mapping, optional
            What ``FILE('name')`` stands for, by name: bytes, or a file's path. One INSERT or UPDATE.

        Raises
        ------
        ClientError
        """
        namespace = namespace or self.namespace
        if files:
            return self._transport.kalam_upload(text, list(params), namespace, outgoing(files))
        return self._transport.kalam(text, list(params), namespace)

    def read_file(self, table: str, reference: str | Mapping[str, Any]) -> bytes:
        """Return the content of a stored file.

        Parameters
        ----------
        table : str
            ``namespace.table``.
        reference : str or mapping
            The value of its FILE column.

        Raises
        ------
        ClientError
            If it is not there, or the user may not read it.
        """
        return self._transport.read_file(*file_path(table, reference))

    def push(
        self,
        sql: str,
        *,
        properties: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Stream:
        """Start a push query (``EMIT CHANGES``) or PRINT.

        Raises
        ------
        ClientError
            Also when `sql` is anything else.
        """
        parts = split_script(sql)
        if len(parts) == 1 and parts[0].is_query:
            (result,) = self.ksql(sql, properties=properties, variables=variables)
            if result.stream is not None:
                return result.stream
        raise ClientError(
            "push() takes exactly one push query. Add EMIT CHANGES if you meant one.", code="40001"
        )

    def live(
        self,
        sql: str,
        *,
        initial: bool = True,
        batch_size: int | None = None,
        last_rows: int | None = None,
        from_seq: int | None = None,
    ) -> Stream:
        """Start a KalamDB live query.

        Parameters
        ----------
        sql : str
            ``SELECT columns FROM namespace.table [WHERE ...]``.
        initial : bool
            Whether to begin with the rows that are there.
        batch_size : int, optional
            Rows that the server sends at a time to begin with.
        last_rows : int, optional
            Begin with so many rows, the latest.
        from_seq : int, optional
            Begin with what changed after this ``_seq``.

        Raises
        ------
        ClientError
        """
        given = {"batch_size": batch_size, "last_rows": last_rows, "from": from_seq}
        options = {name: value for name, value in given.items() if value is not None}
        return self._keep(self._transport.live(sql, options if initial or from_seq is not None else None))

    def consume(
        self,
        topic: str,
        group: str,
        *,
        start: str | int = "latest",
        limit: int = 100,
        partition: int = 0,
        timeout: float = 0,
    ) -> list[Message]:
        """Take the next messages of a consumer group from a topic, and claim them.

        What one member took no other member gets. What is not acknowledged within the engine's visibility
        timeout (60 s) is handed out again: every message is delivered at least once.

        Parameters
        ----------
        topic : str
            Of either dialect: ``namespace.topic``, or the name of a ksqlDB topic.
        group : str
        start : {"earliest", "latest"} or int
            Where a group that is new begins; an int is an offset.
        limit : int
            Messages at most.
        partition : int
        timeout : float
            Seconds to wait for a first message.

        Raises
        ------
        ClientError
            If there is no such topic or partition, or the user's role may not consume.
        """
        return self._transport.consume(topic, group, start, limit, partition, timeout)

    def acknowledge(self, topic: str, group: str, upto: int, *, partition: int = 0) -> None:
        """Say that a group is done with a topic's messages up to offset `upto`, and with that one.

        Raises
        ------
        ClientError
        """
        self._transport.acknowledge(topic, group, partition, upto)

    def _keep(self, stream: Stream) -> Stream:
        with self._lock:
            self._streams.add(stream)
        return stream

    def table(self, name: str) -> pa.Table:
        """Return all rows of a ksqlDB stream or table, or of ``namespace.table``, as Arrow.

        Raises
        ------
        ClientError
            If there is no such source.
        """
        if "." not in name:
            return rows_of(self.ksql(f"SELECT * FROM {name};"), name)
        table = self._transport.kalam_table(name, "default")
        return table.drop_columns([c for c in _SYSTEM_COLUMNS if c in table.column_names])

    def frame(self, name: str) -> pd.DataFrame:
        """Return `table` as a DataFrame with Arrow-backed columns."""
        from kalam_jupyter.client.result import to_frame

        return to_frame(self.table(name))

    def stream_frame(
        self,
        frame: pd.DataFrame | pa.Table,
        name: str,
        *,
        key: str | None = None,
        timestamp: str | None = None,
        rate: float | None = None,
    ) -> Replay:
        """Send the rows of a frame to a ksqlDB stream, declaring it when it is not there.

        Parameters
        ----------
        frame : DataFrame or pyarrow.Table
        name : str
            The stream; its columns are the frame's.
        key : str, optional
            Column that becomes the record key.
        timestamp : str, optional
            Column whose values become the records' event times; the rows are sent in its order.
        rate : float, optional
            Rows a second; all at once when it is missing.

        Returns
        -------
        Replay
            Already done without a `rate`; otherwise it goes on in a thread of its own.

        Raises
        ------
        ClientError
            If the frame does not fit the stream, or holds types that SQL has not.
        """
        replay = Replay(self._transport, frame, name, key, timestamp, rate)
        replay.start()
        return replay

    def send(self, name: str, table: pa.Table) -> int:
        """Append Arrow rows to a ksqlDB source that is there; return how many.

        Raises
        ------
        ClientError
        """
        return self._transport.stream_table(name, table, None, None)

    def table_frame(self, frame: pd.DataFrame | pa.Table, name: str, *, key: str | None = None) -> int:
        """Write the rows of a frame into a table; a row replaces the one with the same key.

        Parameters
        ----------
        frame : DataFrame or pyarrow.Table
        name : str
            ``namespace.table`` of KalamDB, else a ksqlDB table. It is made when it is not there: in KalamDB a
            SHARED table (and its namespace), in ksqlDB one with a topic of its name.
        key : str, optional
            Its key column; needed when the table is made here.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        ClientError
            If the frame does not fit the table, lacks the key or holds types that SQL has not. Rows go to
            KalamDB in transactions of 500: those before the failing one are kept.
        """
        from kalam_jupyter.client.replay import to_table
        from kalam_jupyter.client.table_frame import write_table

        return write_table(self, to_table(frame), name, key)

    def close(self) -> None:
        """End open streams and let go of the engine or the server."""
        for stream in self.streams:
            stream.close()
        self._transport.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _entity_result(entity: dict[str, Any]) -> Result:
    status = entity.get("commandStatus") or {}
    message = status.get("message") or entity.get("message") or ""
    return Result(
        kind="entity",
        dialect="ksql",
        statement=entity.get("statementText") or "",
        entity=entity,
        message=message,
    )
