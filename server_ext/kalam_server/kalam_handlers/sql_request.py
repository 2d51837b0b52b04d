"""Reading the body of ``/v1/api/sql``: JSON, or multipart with files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from tornado.httputil import HTTPServerRequest

#: The reference's framework reads no larger JSON bodies.
MAX_JSON = 2 * 1024 * 1024
_FILE_PREFIX = "file:"


@dataclass(frozen=True)
class Upload:
    """One file of a multipart request.

    Attributes
    ----------
    name : str
        Its file name.
    mime : str or None
        What the client declared.
    data : bytes
    """

    name: str
    mime: str | None
    data: bytes


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


class InvalidInputError(Exception):
    """The request cannot be read: 400 with this code and message."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
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
        raise _invalid(f"JSON payload ({len(body)} bytes) is larger than allowed (limit: {MAX_JSON} bytes).")
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


def read_multipart(request: HTTPServerRequest) -> SqlRequest:
    """Read a multipart request that Tornado has taken apart. Parts with other names are ignored.

    Raises
    ------
    InvalidInputError
    """

    def text(name: str) -> str | None:
        parts = request.body_arguments.get(name)
        if not parts and (files := request.files.get(name)):
            parts = [files[-1].body]
        if not parts:
            return None
        try:
            return parts[-1].decode()
        except UnicodeDecodeError:
            raise InvalidInputError("INVALID_INPUT", f"Part '{name}' is not UTF-8") from None

    sql = text("sql")
    if sql is None or not sql.strip():
        raise InvalidInputError("EMPTY_SQL", "SQL statement is required")
    params = _params(text("params"))
    files: dict[str, Upload] = {}
    for name, values in request.body_arguments.items():
        if name.startswith(_FILE_PREFIX):
            placeholder = name.removeprefix(_FILE_PREFIX)
            files[placeholder] = Upload(placeholder, None, values[-1])
    for name, uploads in request.files.items():
        if name.startswith(_FILE_PREFIX):
            placeholder, last = name.removeprefix(_FILE_PREFIX), uploads[-1]
            # Tornado fills in this type where a part declares none.
            mime = None if last.content_type == "application/unknown" else last.content_type
            files[placeholder] = Upload(last.filename or placeholder, mime, last.body)
    return SqlRequest(sql, params, text("namespace_id") or "default", files)


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
