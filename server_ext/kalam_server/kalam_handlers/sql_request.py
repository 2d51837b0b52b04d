"""Reading the body of ``/v1/api/sql`` as it arrives: JSON, or multipart with files that go to disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from kalam_server.kalam_handlers.base import MAX_JSON, json_too_large

if TYPE_CHECKING:
    from kalam_jupyter.kalam import KalamConfig
    from kalam_jupyter.kalam.files import Upload

_FILE_PREFIX = "file:"


@dataclass(frozen=True)
class SqlRequest:
    """What a client asks for.

    Attributes
    ----------
    sql : str
    params : list
    namespace : str
    files : mapping of placeholder name to Upload, or None
        None: the request was JSON, so FILE() placeholders are refused.
    """

    sql: str
    params: list[Any]
    namespace: str
    files: dict[str, Upload] | None = None


class BodyReader(Protocol):
    """Takes a request body in pieces."""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""

    def finish(self) -> SqlRequest:
        """The body is complete: say what it asks for."""

    def close(self) -> None:
        """Remove what was stored on the way."""


class InvalidInputError(Exception):
    """The request cannot be read: answered with this code and message."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.code, self.status = code, status
        super().__init__(message)


def read_json(body: bytes, declared: bool) -> SqlRequest:
    """Read a JSON request.

    Parameters
    ----------
    declared : bool
        Whether the content type says that it is JSON.

    Raises
    ------
    InvalidInputError
    """
    if not declared:
        raise _invalid("Content type error")
    if len(body) > MAX_JSON:
        raise _invalid(json_too_large(len(body)))
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _invalid(str(error)) from None
    if not isinstance(given, dict):
        raise _invalid("expected an object")
    if "sql" not in given:
        raise _invalid("missing field `sql`")
    sql, params, namespace = given["sql"], given.get("params"), given.get("namespace_id")
    if not isinstance(sql, str):
        raise _invalid("`sql` must be a string")
    if params is not None and not isinstance(params, list):
        raise _invalid("`params` must be an array")
    if namespace is not None and not isinstance(namespace, str):
        raise _invalid("`namespace_id` must be a string")
    return SqlRequest(sql, params or [], namespace or "default")


def _invalid(message: str) -> InvalidInputError:
    return InvalidInputError("INVALID_INPUT", f"Invalid JSON payload: {message}")


class JsonReader:
    """Collects a JSON body.

    Parameters
    ----------
    declared : bool
        Whether the content type says that it is JSON.
    """

    def __init__(self, declared: bool) -> None:
        self._declared, self._pieces, self._size = declared, list[bytes](), 0

    def feed(self, data: bytes) -> None:
        """See `BodyReader`: what will be refused for its size is not kept."""
        self._size += len(data)
        if self._size <= MAX_JSON:
            self._pieces.append(data)

    def finish(self) -> SqlRequest:
        """See `BodyReader`."""
        if self._declared and self._size > MAX_JSON:
            raise _invalid(json_too_large(self._size))
        return read_json(b"".join(self._pieces), self._declared)

    def close(self) -> None:
        """See `BodyReader`: nothing was stored."""


class EncodedReader:
    """Passes over a body that is compressed, or encoded in another way: refused once the caller is known.

    Parameters
    ----------
    encoding : str
        The ``Content-Encoding``.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def feed(self, data: bytes) -> None:
        """See `BodyReader`."""

    def finish(self) -> SqlRequest:
        """See `BodyReader`."""
        text = f"Content-Encoding '{self._encoding}' is not supported: send the body as it is"
        raise InvalidInputError("INVALID_INPUT", text, 415)

    def close(self) -> None:
        """See `BodyReader`: nothing was stored."""


class MultipartReader:
    """Takes a multipart body apart while it arrives. Parts with other names are ignored.

    Parameters
    ----------
    content_type : str
    receive : callable
        Begins an upload, given its file name and declared type.
    config : KalamConfig
    """

    def __init__(
        self, content_type: str, receive: Callable[[str, str | None], Upload], config: KalamConfig
    ) -> None:
        boundary = parse_options_header(content_type)[1].get("boundary")
        if not boundary:
            raise InvalidInputError("INVALID_INPUT", "Invalid multipart payload: no boundary")
        self._parser = PushMultipartParser(boundary)
        self._receive, self._max_files = receive, config.max_files_per_request
        self._texts: dict[str, bytearray] = {}
        self._files: dict[str, Upload] = {}
        self._name = ""
        self._part: Upload | bytearray | None = None

    def feed(self, data: bytes) -> None:
        """See `BodyReader`.

        Raises
        ------
        InvalidInputError
        KalamError
            ``TOO_MANY_FILES``, ``FILE_TOO_LARGE``.
        """
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is not None:
                    self._take(event)
        except MultipartError as error:
            raise InvalidInputError("INVALID_INPUT", f"Invalid multipart payload: {error}") from None

    def _begin(self, segment: MultipartSegment) -> None:
        self._name, self._part = segment.name, None
        if segment.name in ("sql", "params", "namespace_id"):
            self._part = self._texts[segment.name] = bytearray()
        elif segment.name.startswith(_FILE_PREFIX):
            placeholder = segment.name.removeprefix(_FILE_PREFIX)
            if previous := self._files.pop(placeholder, None):
                previous.close()
            if len(self._files) == self._max_files:
                from kalam_jupyter.kalam import KalamError

                raise KalamError("TOO_MANY_FILES", f"Too many files: maximum {self._max_files} allowed")
            upload = self._receive(segment.filename or placeholder, segment.header("Content-Type"))
            self._part = self._files[placeholder] = upload

    def _take(self, data: bytearray) -> None:
        if isinstance(self._part, bytearray):
            if len(self._part) + len(data) > MAX_JSON:
                text = f"Part '{self._name}' is larger than allowed (limit: {MAX_JSON} bytes)"
                raise InvalidInputError("INVALID_INPUT", text)
            self._part += data
        elif self._part is not None:
            self._part.write(bytes(data))

    def finish(self) -> SqlRequest:
        """See `BodyReader`.

        Raises
        ------
        InvalidInputError
        """
        try:
            self._parser.close()
        except MultipartError as error:
            raise InvalidInputError("INVALID_INPUT", f"Invalid multipart payload: {error}") from None
        sql = self._text("sql")
        if sql is None or not sql.strip():
            raise InvalidInputError("EMPTY_SQL", "SQL statement is required")
        params = _params(self._text("params"))
        return SqlRequest(sql, params, self._text("namespace_id") or "default", self._files)

    def _text(self, name: str) -> str | None:
        found = self._texts.get(name)
        try:
            return None if found is None else found.decode()
        except UnicodeDecodeError:
            raise InvalidInputError("INVALID_INPUT", f"Part '{name}' is not UTF-8") from None

    def close(self) -> None:
        """See `BodyReader`: end the uploads."""
        for upload in self._files.values():
            upload.close()


def _params(text: str | None) -> list[Any]:
    if text is None or not text.strip():
        return []
    try:
        params = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError("INVALID_PARAMETER", f"Invalid params JSON: {error}") from None
    if not isinstance(params, list):
        raise InvalidInputError("INVALID_PARAMETER", "Params must be a JSON array")
    return params
