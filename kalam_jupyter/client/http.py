"""The transport to a server: ours, or a ksqlDB or KalamDB cluster.

Ours answers in Arrow; from others come the JSON shapes of their contracts, made into the same tables.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa

from kalam_jupyter.client.errors import ClientError, ConnectionLostError
from kalam_jupyter.client.files import Outgoing, multipart
from kalam_jupyter.client.foreign import kalam_results, latest, open_ksql_query, whole_table
from kalam_jupyter.client.http_stream import open_stream
from kalam_jupyter.client.messages import Message
from kalam_jupyter.client.result import Result, rows_of
from kalam_jupyter.client.stream import Stream
from kalam_jupyter.client.topology_text import explained_topology
from kalam_jupyter.client.wire import Answer, Wire, basic, kalam_failure, ksql_failure, path_of
from kalam_jupyter.ksql.plan.graph import TopologyData, is_query_id
from kalam_server.frames import decode
from kalam_server.negotiate import ARROW

#: A header of ``/info`` by which our own server is known.
OURS = "X-Kalam-Jupyter"
#: Rows of a frame sent in one request.
_FRAME_ROWS = 500_000


class HttpTransport:
    """Speaks both APIs to one server.

    Attributes
    ----------
    ours : bool
        Whether it is our own server.
    dialects : frozenset of str
        Which APIs it has.
    """

    def __init__(self, wire: Wire, *, ours: bool, dialects: frozenset[str]) -> None:
        self.target, self._wire = wire.url, wire
        self.ours, self.dialects = ours, dialects
        self._login: tuple[str, str] | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        dialect: str | None = None,
    ) -> HttpTransport:
        """Find out what answers at `url`, and log in if that is asked for.

        Raises
        ------
        ClientError
            If nothing that we know answers there, or the credential is refused.
        """
        authorization = f"Bearer {token}" if token else None
        wire = Wire.to(url, authorization)
        ours, dialects = _probe(wire, dialect, will_log_in=user is not None)
        transport = cls(wire, ours=ours, dialects=dialects)
        if user is not None and token is None:
            if "kalam" in dialects:
                transport._log_in(user, password or "")
            else:
                wire.authorization = basic(user, password or "")
        return transport

    def _log_in(self, user: str, password: str) -> None:
        body = {"user": user, "password": password}
        answer = self._wire.request("POST", "/v1/api/auth/login", body)
        if answer.status != 200:
            raise kalam_failure(answer.status, answer.json())
        self._login = (user, password)
        self._wire.authorization = f"Bearer {answer.json()['access_token']}"

    def _need(self, dialect: str) -> None:
        if dialect not in self.dialects:
            name = {"ksql": "ksqlDB", "kalam": "KalamDB"}[dialect]
            raise ClientError(f"{self.target} does not speak {name}'s API", code="UNSUPPORTED")

    # ---- ksqlDB

    def ksql_statements(
        self, text: str, properties: Mapping[str, Any], variables: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """See `Transport`."""
        self._need("ksql")
        body = {"ksql": text, "streamsProperties": dict(properties), "sessionVariables": dict(variables)}
        answer = self._wire.request("POST", "/ksql", body)
        if answer.status != 200:
            raise ksql_failure(answer.status, answer.json())
        entities: list[dict[str, Any]] = answer.json()
        return entities

    def ksql_query(self, text: str, properties: Mapping[str, Any], variables: Mapping[str, str]) -> Result:
        """See `Transport`."""
        self._need("ksql")
        if not self.ours:
            return open_ksql_query(self._wire, text, properties, variables)
        body = {"sql": text, "properties": dict(properties), "sessionVariables": dict(variables)}
        opened = self._wire.open("POST", "/query-stream", body, accept=ARROW)
        if opened.status != 200:
            raise ksql_failure(opened.status, opened.rest())
        stream = open_stream(opened, text.strip())
        if stream.kind in ("push", "print"):
            return Result("stream", "ksql", statement=text.strip(), stream=stream)
        table = stream.all_rows()
        return Result(
            "rows", "ksql", statement=text.strip(), table=table, key=stream.key, row_count=table.num_rows
        )

    def ksql_topology(
        self, query: str, properties: Mapping[str, Any], variables: Mapping[str, str]
    ) -> TopologyData:
        """See `Transport`."""
        self._need("ksql")
        if not self.ours:
            text = f"EXPLAIN {query.strip().rstrip(';')};"
            (entity,) = self.ksql_statements(text, properties, variables)
            return explained_topology(entity["queryDescription"])
        if is_query_id(query):
            answer = self._wire.request("GET", path_of("topology", query.strip()))
        else:
            body = {
                "ksql": query,
                "streamsProperties": dict(properties),
                "sessionVariables": dict(variables),
            }
            answer = self._wire.request("POST", "/topology", body)
        if answer.status != 200:
            raise ksql_failure(answer.status, answer.json())
        found: TopologyData = answer.json()
        return found

    def stream_table(self, name: str, table: pa.Table, key: str | None, timestamp: str | None) -> int:
        """See `Transport`."""
        if not self.ours:
            raise ClientError(
                "a frame can only be streamed to our own server or the embedded engine", code="UNSUPPORTED"
            )
        query = urlencode({n: v for n, v in (("key", key), ("timestamp", timestamp)) if v is not None})
        path = path_of("frames", name) + (f"?{query}" if query else "")
        sent = 0
        for start in range(0, max(table.num_rows, 1), _FRAME_ROWS):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.slice(start, _FRAME_ROWS))
            answer = self._wire.request("POST", path, bytes(sink.getvalue()), content_type=ARROW)
            if answer.status != 200:
                raise ksql_failure(answer.status, answer.json())
            sent += answer.json()["rows"]
        return sent

    # ---- KalamDB

    def kalam(self, text: str, params: Sequence[Any], namespace: str) -> list[Result]:
        """See `Transport`."""
        self._need("kalam")
        accept = f"{ARROW}, application/json;q=0.5" if self.ours else "application/json"
        body = {"sql": text, "params": list(params), "namespace_id": namespace}
        answer = self._request("POST", "/v1/api/sql", body, accept=accept)
        if answer.status != 200:
            raise kalam_failure(answer.status, answer.json())
        if answer.headers.get("Content-Type", "").startswith(ARROW):
            return [_arrow_result(table, info) for table, info in decode(answer.body)]
        return kalam_results(answer.json())

    def kalam_upload(
        self, text: str, params: Sequence[Any], namespace: str, files: Mapping[str, Outgoing]
    ) -> list[Result]:
        """See `Transport`."""
        self._need("kalam")
        body, content_type = multipart(text, params, namespace, files)
        answer = self._request("POST", "/v1/api/sql", body, content_type=content_type)
        if answer.status != 200:
            raise kalam_failure(answer.status, answer.json())
        return kalam_results(answer.json())

    def read_file(self, namespace: str, table: str, folder: str, file_id: str) -> bytes:
        """See `Transport`."""
        self._need("kalam")
        answer = self._request("GET", path_of("v1", "files", namespace, table, folder, file_id), accept="*/*")
        if answer.status != 200:
            raise kalam_failure(answer.status, answer.json())
        return answer.body

    def _request(self, method: str, path: str, body: Any = None, **settings: Any) -> Answer:
        """Send a request to KalamDB's API; once more when the token had expired."""
        answer = self._wire.request(method, path, body, **settings)
        if answer.status == 401 and self._renewed(answer.json()):
            answer = self._wire.request(method, path, body, **settings)
        return answer

    def kalam_table(self, name: str, namespace: str) -> pa.Table:
        """See `Transport`."""
        if self.ours:
            return rows_of(self.kalam(f"SELECT * FROM {name}", (), namespace), name)
        key: tuple[str, ...] = ()

        def ask(sql: str) -> pa.Table:
            nonlocal key
            results = self.kalam(sql, (), namespace)
            key = results[0].key
            return rows_of(results, name)

        return latest(whole_table(ask, name), key)

    def _renewed(self, body: Any) -> bool:
        """Log in again when the token has expired; say whether that was it."""
        error = body.get("error") if isinstance(body, dict) else None
        expired = isinstance(error, dict) and error.get("code") == "TOKEN_EXPIRED"
        if not expired or self._login is None:
            return False
        self._log_in_again()
        return True

    def live(self, sql: str, options: Mapping[str, int] | None) -> Stream:
        """See `Transport`."""
        from kalam_jupyter.client.live_socket import LiveSocketStream

        self._need("kalam")
        return LiveSocketStream.open(self._wire, sql.strip(), options, self._log_in_again)

    def _log_in_again(self) -> None:
        if self._login is not None:
            with self._lock:
                self._log_in(*self._login)

    def consume(
        self, topic: str, group: str, start: str | int, limit: int, partition: int, timeout: float
    ) -> list[Message]:
        """See `Transport`. The wait is the server's, in whole seconds; KalamDB's own does not wait."""
        body = {
            "topic_id": topic,
            "group_id": group,
            "start": start.capitalize() if isinstance(start, str) else {"Offset": start},
            "limit": limit,
            "partition_id": partition,
            "timeout_seconds": ceil(timeout) or None,
        }
        return [Message.of_wire(message) for message in self._topics("consume", body)["messages"]]

    def acknowledge(self, topic: str, group: str, partition: int, upto: int) -> None:
        """See `Transport`."""
        body = {"topic_id": topic, "group_id": group, "partition_id": partition, "upto_offset": upto}
        self._topics("ack", body)

    def _topics(self, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._need("kalam")
        answer = self._request("POST", f"/v1/api/topics/{action}", body)
        if answer.status != 200:
            raise kalam_failure(answer.status, answer.json())
        found: dict[str, Any] = answer.json()
        return found

    def close(self) -> None:
        """See `Transport`."""
        self._wire.close()


def _arrow_result(table: pa.Table | None, info: Mapping[str, Any]) -> Result:
    if table is None:
        return Result("message", "kalam", message=info["message"] or "", row_count=info["row_count"])
    return Result("rows", "kalam", table=table, key=tuple(info["key"]), row_count=info["row_count"])


def _probe(wire: Wire, dialect: str | None, *, will_log_in: bool) -> tuple[bool, frozenset[str]]:
    """Find out whether our server answers, and which APIs."""
    answer = wire.request("GET", "/info")
    if OURS in answer.headers:
        if answer.status == 401 and not will_log_in:
            raise ksql_failure(answer.status, answer.json())
        # A KalamDB user of low role may not use ksqlDB's API.
        return True, frozenset({"kalam"} if answer.status == 403 else {"ksql", "kalam"})
    if dialect is not None:
        return False, frozenset({dialect})
    body = answer.json()
    if isinstance(body, dict) and ("KsqlServerInfo" in body or "error_code" in body):
        if answer.status in (401, 403):
            raise ksql_failure(answer.status, body)
        return False, frozenset({"ksql"})
    health = wire.request("GET", "/v1/api/healthcheck").json()
    if isinstance(health, dict) and ("api_version" in health or "error" in health):
        return False, frozenset({"kalam"})
    raise ClientError(
        f"{wire.url} answers like neither ksqlDB, KalamDB nor our server",
        code="CONNECTION",
        status=answer.status,
    )


def is_ours(url: str, token: str) -> bool:
    """Whether our server extension answers at `url`."""
    try:
        answer = Wire.to(url, f"Bearer {token}" if token else None).request("GET", "/info")
    except ConnectionLostError:
        return False
    return OURS in answer.headers
