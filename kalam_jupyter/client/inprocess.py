"""The transport to an engine in this process.

Engine work never runs in the main thread: there a KeyboardInterrupt may strike between any two
byte codes. The main thread hands the work to a worker and waits, which can be interrupted safely.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from kalam_jupyter.changes import INSERT, KIND_NAMES, Changes, from_result_rows
from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.client.files import Outgoing
from kalam_jupyter.client.login import OWNER, Login
from kalam_jupyter.client.messages import Message
from kalam_jupyter.client.result import Result, rows_of
from kalam_jupyter.client.stream import Stream
from kalam_jupyter.engine.errors import EngineError
from kalam_jupyter.kalam import KalamError, LiveQuery, Stop
from kalam_jupyter.kalam import Result as KalamResult
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.topics import CONSUMER_ROLES, Topics
from kalam_jupyter.ksql import Ksql, KsqlError, TransientQuery

if TYPE_CHECKING:
    from kalam_jupyter.ksql.plan.graph import TopologyData
    from kalam_jupyter.node import Node

T = TypeVar("T")
_WORKERS = 8
_LOOK_SECONDS = 0.5


class InProcessTransport:
    """Runs statements on a `Node` of this process, as KalamDB's user ``root`` or as who logs in.

    Closing it leaves the node open: other connections may share it.

    Raises
    ------
    ClientError
        If the login is refused.
    """

    def __init__(self, node: Node, login: Login = OWNER) -> None:
        self.node = node
        path = node.engine.path
        self.target = "embedded" if path is None else f"embedded:{path}"
        self._user = _translated(lambda: _user(node, login))
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="kalam-client")

    def ksql_statements(
        self, text: str, properties: Mapping[str, Any], variables: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """See `Transport`."""
        return self._run(lambda: self._ksql().execute(text, properties=properties, variables=variables))

    def ksql_query(self, text: str, properties: Mapping[str, Any], variables: Mapping[str, str]) -> Result:
        """See `Transport`."""

        def start() -> Result:
            query = self._ksql().query(text, properties=properties, variables=variables)
            if query.kind in ("push", "print"):
                stream = KsqlStream(self, query, text.strip())
                return Result("stream", "ksql", statement=text.strip(), stream=stream)
            table = query.table()
            return Result(
                "rows",
                "ksql",
                statement=text.strip(),
                table=table,
                key=tuple(c.name for c in query.columns if c.key),
                row_count=table.num_rows,
            )

        return self._run(start, _close_stream)

    def ksql_topology(
        self, query: str, properties: Mapping[str, Any], variables: Mapping[str, str]
    ) -> TopologyData:
        """See `Transport`."""
        ksql = self.node.ksql
        return self._run(lambda: ksql.topology_data(query, properties=properties, variables=variables))

    def kalam(self, text: str, params: Sequence[Any], namespace: str) -> list[Result]:
        """See `Transport`."""
        kalam, stop = self.node.kalam, Stop()
        results = self._run(
            lambda: kalam.execute(
                kalam.session(self._user), text, params=params, namespace=namespace, stop=stop
            ),
            interrupt=stop.cancel,
        )
        return [_kalam_result(result) for result in results]

    def kalam_table(self, name: str, namespace: str) -> pa.Table:
        """See `Transport`."""
        return rows_of(self.kalam(f"SELECT * FROM {name}", (), namespace), name)

    def kalam_upload(
        self, text: str, params: Sequence[Any], namespace: str, files: Mapping[str, Outgoing]
    ) -> list[Result]:
        """See `Transport`."""
        kalam = self.node.kalam
        results = self._run(
            lambda: kalam.execute_upload(
                kalam.session(self._user), text, params=params, namespace=namespace, files=files
            )
        )
        return [_kalam_result(result) for result in results]

    def read_file(self, namespace: str, table: str, folder: str, file_id: str) -> bytes:
        """See `Transport`."""
        kalam = self.node.kalam
        return self._run(
            lambda: kalam.read_file(kalam.session(self._user), namespace, table, folder, file_id)[1]
        )

    def live(self, sql: str, options: Mapping[str, int] | None) -> Stream:
        """See `Transport`."""

        def start() -> Stream:
            kalam = self.node.kalam
            query = kalam.subscribe(kalam.session(self._user), sql, options)
            return KalamStream(self, query, sql.strip())

        return self._run(start, lambda stream: stream.close())

    def consume(
        self, topic: str, group: str, start: str | int, limit: int, partition: int, timeout: float
    ) -> list[Message]:
        """See `Transport`."""

        def take() -> list[Message]:
            found = self._topics().consume(
                topic, group, start=start, limit=limit, partition=partition, timeout=timeout
            )
            return [Message(*message) for message in found.messages]

        return self._run(lambda: _of_topic(take))

    def acknowledge(self, topic: str, group: str, partition: int, upto: int) -> None:
        """See `Transport`."""
        self._run(lambda: _of_topic(lambda: self._topics().acknowledge(topic, group, partition, upto)))

    def stream_table(self, name: str, table: pa.Table, key: str | None, timestamp: str | None) -> int:
        """See `Transport`."""
        return self._run(lambda: self._ksql().stream_frame(name, table, key=key, timestamp=timestamp))

    def _ksql(self) -> Ksql:
        """Return ksqlDB's dialect, for those whose role may see every topic."""
        self._check_role("ksqlDB's API is", "40300")
        return self.node.ksql

    def _topics(self) -> Topics:
        self._check_role("topics are", "FORBIDDEN")
        return self.node.kalam.topics

    def _check_role(self, what: str, code: str) -> None:
        role = self.node.kalam.session(self._user).role
        if role not in CONSUMER_ROLES:
            raise ClientError(f"{what} not for users of role '{role}'", code=code, status=403)

    def close(self) -> None:
        """See `Transport`."""
        self._workers.shutdown(wait=False)

    def call(self, work: Callable[[], T]) -> T:
        """Run `work`, in a worker when this is the main thread."""
        return self._run(work)

    def _run(
        self,
        work: Callable[[], T],
        abandon: Callable[[T], None] | None = None,
        interrupt: Callable[[], None] | None = None,
    ) -> T:
        """Run `work`; an interrupt calls `interrupt`, and `abandon` with what `work` gives all the same."""
        if threading.current_thread() is not threading.main_thread():
            return _translated(work)
        future: Future[T] | None = None
        try:
            future = self._submitted(work)
            return _awaited(future)
        except KeyboardInterrupt:
            if interrupt is not None:
                interrupt()
            if abandon is not None and future is not None:
                future.add_done_callback(lambda f: abandon(f.result()) if f.exception() is None else None)
            raise

    def _submitted(self, work: Callable[[], T]) -> Future[T]:
        try:
            return self._workers.submit(_translated, work)
        except RuntimeError as error:
            raise ClientError("the connection is closed", code="CLOSED") from error


def _awaited(future: Future[T]) -> T:
    """Return what a future gives. An interrupt just before a wait does not end it, so none is long."""
    while True:
        try:
            return future.result(_LOOK_SECONDS)
        except TimeoutError:
            if future.done():
                raise


def _user(node: Node, login: Login) -> str:
    """Return whom a login proves to be."""
    if login.token is not None:
        return node.kalam.auth.verify(login.token).user_id
    if login.user is None:
        return "root"
    if login.password is None:
        raise ClientError(f"user '{login.user}' needs a password", code="unauthorized", status=401)
    return node.kalam.auth.login(login.user, login.password).user.id


def _of_topic(work: Callable[[], T]) -> T:
    try:
        return work()
    except StatementError as error:
        raise ClientError(error.text, code=error.kind.upper(), status=404) from error


def _translated(work: Callable[[], T]) -> T:
    """Run `work`; turn what the engine raises on purpose into `ClientError`."""
    try:
        return work()
    except KsqlError as error:
        raise ksql_error(error) from error
    except KalamError as error:
        raise ClientError(
            error.message,
            code=error.code,
            status=error.status,
            line=error.line,
            column=error.column,
            statement=error.details,
        ) from error
    except EngineError as error:
        raise ClientError(str(error), code="ENGINE") from error


def ksql_error(error: KsqlError) -> ClientError:
    """Return `error` as a client error."""
    return ClientError(
        error.message,
        code=str(error.error_code),
        line=error.line,
        column=error.column,
        statement=error.statement_text,
        status=error.http_status,
    )


def _kalam_result(result: KalamResult) -> Result:
    if result.kind == "message":
        return Result("message", "kalam", message=result.message or "", row_count=result.row_count)
    return Result(
        "rows",
        "kalam",
        table=result.table,
        key=tuple(c.name for c in result.columns if "pk" in c.flags),
        row_count=result.row_count,
    )


def _close_stream(result: Result) -> None:
    if result.stream is not None:
        result.stream.close()


class KsqlStream(Stream):
    """A push query or PRINT of the engine in this process."""

    dialect = "ksql"

    def __init__(self, transport: InProcessTransport, query: TransientQuery, sql: str) -> None:
        self._transport, self._query = transport, query
        self.id, self.sql = query.id, sql
        self._types = [c.type for c in query.columns]
        self.key = query.key_names
        self.schema = pa.schema([pa.field(c.name, c.type.arrow) for c in query.columns])

    @property
    def finished(self) -> bool:
        """See `Stream`."""
        return bool(self._query.finished)

    def poll(self, max_rows: int = 1000) -> Changes | None:
        """See `Stream`."""
        rows = self._transport.call(lambda: self._query.poll(max_rows))
        if self._query.finished:
            self.message = self._query.final_message or ""
            if self._query.error is not None:
                self.error = ksql_error(self._query.error)
        if not rows:
            return None
        return from_result_rows(rows, self._types, self.schema, keyed=bool(self.key))

    def wait(self, timeout: float | None = None) -> bool:
        """See `Stream`."""
        return bool(self._query.wait(timeout))

    def behind(self) -> int | None:
        """See `Stream`."""
        return self._transport.node.engine.behind() + sum(self._query.lag().values())

    def close(self) -> None:
        """See `Stream`."""
        self._query.close()

    def on_wake(self, callback: Callable[[], None] | None) -> None:
        """See `Stream`."""
        self._query.on_wake = callback


class KalamStream(Stream):
    """A live query of the engine in this process: its snapshot, then its changes."""

    dialect = "kalam"

    def __init__(self, transport: InProcessTransport, query: LiveQuery, sql: str) -> None:
        self._transport, self._query = transport, query
        self.id, self.sql = query.live_id, sql
        self.key = tuple(c.name for c in query.columns if "pk" in c.flags)
        self._snapshot: pa.Table | None = query.snapshot() if query.options.initial else None
        self.schema = (self._snapshot if self._snapshot is not None else query.to_arrow([])).schema
        self._sent = 0
        self._closed = False

    @property
    def finished(self) -> bool:
        """See `Stream`."""
        return self._closed or self._query.closed

    def poll(self, max_rows: int = 1000) -> Changes | None:
        """See `Stream`."""
        if self._snapshot is not None and not self._closed:
            if (initial := self._initial(max_rows)) is not None:
                return initial
            self._snapshot = None
        changes = self._transport.call(lambda: self._query.poll(max_rows))
        if not changes:
            return None
        rows = [c.old if c.change_type == "delete" else c.new for c in changes]
        kinds = np.array([KIND_NAMES.index(c.change_type) for c in changes], np.int8)
        # A row that its table no longer describes (a delete without values) cannot be shown.
        known = [i for i, row in enumerate(rows) if row is not None]
        table = self._query.to_arrow([row for row in rows if row is not None])
        return Changes(table.combine_chunks().to_batches()[0], kinds[known]) if known else None

    def _initial(self, max_rows: int) -> Changes | None:
        assert self._snapshot is not None
        part = self._snapshot.slice(self._sent, max_rows)
        if not part.num_rows:
            return None
        self._sent += part.num_rows
        batch = part.combine_chunks().to_batches()[0]
        return Changes(batch, np.full(part.num_rows, INSERT, np.int8), initial=True)

    def wait(self, timeout: float | None = None) -> bool:
        """See `Stream`."""
        return self._snapshot is not None or self.finished or self._query.wait(timeout)

    def behind(self) -> int | None:
        """See `Stream`."""
        return self._transport.node.engine.behind()

    def close(self) -> None:
        """See `Stream`."""
        self._closed = True
        self._query.close()

    def on_wake(self, callback: Callable[[], None] | None) -> None:
        """See `Stream`."""
        self._query.on_wake = callback
