"""HTTP/1.1 to one server: a small pool of connections, credentials, errors of both APIs.

The standard library's client is used because reading blocks in plain sight: a stream that nobody
polls stops the server by TCP's own back-pressure, and an interrupt just ends the read.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from kalam_jupyter.client.errors import ClientError, ConnectionLostError

CONNECT_TIMEOUT_S = 10.0
#: An idle connection older than this may have been closed by the other side: it is not used again.
_MAX_IDLE_S = 20.0
#: Where ksqlDB's messages say that something is: ``line 1:8: ..`` or ``Line: 1, Col: 8: ..``.
_POSITION = re.compile(r"^(?:line (\d+):(\d+)|Line: (\d+), Col: (\d+))")


@dataclass
class Answer:
    """A complete response.

    Attributes
    ----------
    headers : http.client.HTTPMessage
        Their names in any case: proxies change it.
    """

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON; None when it is not."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass
class OpenAnswer:
    """A response whose body is still to come.

    Attributes
    ----------
    response : http.client.HTTPResponse
    connection : http.client.HTTPConnection
    sock : socket.socket
        Shutting it down ends a read that another thread is in.
    url : str
        Of the server.
    """

    response: http.client.HTTPResponse
    connection: http.client.HTTPConnection
    sock: socket.socket
    url: str

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.response.status

    @property
    def content_type(self) -> str:
        """Media type of the body."""
        return self.response.headers.get("Content-Type", "").partition(";")[0].strip()

    def rest(self) -> Any:
        """Read what is left as JSON, None when it is not, and close the connection."""
        try:
            return json.loads(self.response.read())
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            self.connection.close()

    def lost(self, error: Exception | None = None) -> ConnectionLostError:
        """Return what to say of a body that broke off."""
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        return ConnectionLostError(f"the connection to {self.url} was lost{reason}")

    def abort(self) -> None:
        """End the exchange, from any thread."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


@dataclass
class Wire:
    """Requests to one base URL.

    Attributes
    ----------
    url : str
        Without credentials and without a final slash.
    authorization : str or None
        Value of the ``Authorization`` header.
    """

    url: str
    authorization: str | None = None
    _idle: list[tuple[float, http.client.HTTPConnection]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def to(cls, url: str, authorization: str | None = None) -> Wire:
        """Make one; user and password in the URL become Basic credentials."""
        parts = urlsplit(url)
        if parts.username is not None and authorization is None:
            authorization = basic(unquote(parts.username), unquote(parts.password or ""))
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
        return cls(f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}", authorization)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> Answer:
        """Send a request and read the whole answer.

        Raises
        ------
        ConnectionLostError
        """
        opened = self.open(method, path, body, accept=accept, content_type=content_type)
        response, connection = opened.response, opened.connection
        try:
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.unreachable(error) from error
        except BaseException:
            connection.close()
            raise
        self._give_back(response, connection)
        return answer

    def open(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> OpenAnswer:
        """Send a request and return as soon as the response head is there.

        Raises
        ------
        ConnectionLostError
        """
        data = json.dumps(body).encode() if isinstance(body, Mapping) else body
        headers = {"Accept": accept, "User-Agent": "kalam-jupyter"}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        if data is not None:
            headers["Content-Type"] = content_type
        connection = self._take()
        try:
            connection.request(method, f"{urlsplit(self.url).path}{path}", body=data, headers=headers)
            sock = connection.sock
            return OpenAnswer(connection.getresponse(), connection, sock, self.url)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self.unreachable(error) from error
        except BaseException:
            connection.close()
            raise

    def unreachable(self, error: Exception) -> ConnectionLostError:
        """Return what to say of a connection that could not be made, or broke before an answer began."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, ssl.SSLCertVerificationError):
            known = "the certificate of who signed it belongs into the file that SSL_CERT_FILE names"
            reason = f"{error.verify_message}; {known}"
        elif isinstance(error, ssl.SSLError) or "handshake" in reason:
            reason = f"no TLS there ({reason}); try http://.."
        return ConnectionLostError(f"cannot reach {self.url}: {reason or type(error).__name__}")

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < _MAX_IDLE_S:
                    return connection
                connection.close()
        parts = urlsplit(self.url)
        kind: type[http.client.HTTPConnection] = http.client.HTTPConnection
        options: dict[str, Any] = {"timeout": CONNECT_TIMEOUT_S}
        if parts.scheme == "https":
            kind = http.client.HTTPSConnection
            options["context"] = ssl.create_default_context()
        connection = kind(parts.hostname or "", parts.port, **options)
        try:
            connection.connect()
        except OSError as error:
            raise self.unreachable(error) from error
        # The timeout was for connecting: a statement may take as long as it takes.
        connection.sock.settimeout(None)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _give_back(self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection) -> None:
        if response.will_close:
            connection.close()
            return
        with self._lock:
            self._idle.append((time.monotonic(), connection))

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            for _, connection in self._idle:
                connection.close()
            self._idle.clear()


def basic(user: str, password: str) -> str:
    """Return the ``Authorization`` value of a user and password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def path_of(*parts: str) -> str:
    """Join parts into a path, each quoted."""
    return "".join("/" + quote(part, safe="") for part in parts)


def ksql_failure(status: int, body: Any) -> ClientError:
    """Return ksqlDB's error answer as an exception."""
    if not isinstance(body, dict):
        return ClientError(f"the server answered with status {status}", code=str(status * 100), status=status)
    message = str(body.get("message") or f"status {status}")
    found = _POSITION.match(message)
    position = [int(g) for g in found.groups() if g] if found else [None, None]
    return ClientError(
        message,
        code=str(body.get("error_code", status * 100)),
        line=position[0],
        column=position[1],
        statement=body.get("statementText"),
        status=status,
    )


def kalam_failure(status: int, body: Any) -> ClientError:
    """Return KalamDB's error answer, in any of its envelopes, as an exception."""
    if isinstance(body, dict):
        error = body.get("error")
        if isinstance(error, dict):
            return ClientError(
                str(error.get("message", "")),
                code=str(error.get("code", status)),
                statement=error.get("details"),
                status=status,
            )
        if isinstance(error, str):
            message = body.get("message")
            code = body.get("code", error if message else status)
            return ClientError(str(message or error), code=str(code), status=status)
    return ClientError(f"the server answered with status {status}", code=str(status), status=status)
