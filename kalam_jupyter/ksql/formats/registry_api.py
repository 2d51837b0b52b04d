"""The public REST API of a schema registry over `EmbeddedRegistry`: requests in, status and JSON out.

A server's handler needs no more than `answer`; paths, codes and messages are those of Confluent's registry,
so that its clients (serializers of Kafka clients, for one) work unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import fastavro
from fastavro.schema import SchemaParseException

from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.compatibility import IncompatibleSchemaError
from kalam_jupyter.ksql.formats.proto_schema import ProtoSchema
from kalam_jupyter.ksql.formats.schema_registry import (
    EmbeddedRegistry,
    RegisteredSchema,
    SchemaNotFoundError,
    referenced,
)

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, SCHEMA_NOT_FOUND = 40401, 40402, 40403
INVALID_SCHEMA, INVALID_VERSION, INVALID_COMPATIBILITY = 42201, 42202, 42203


class _RefusedError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def answer(registry: EmbeddedRegistry, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    """Answer one request.

    Parameters
    ----------
    registry : EmbeddedRegistry
    method : str
    path : str
        Below the registry's root, percent-encoded, without query.
    body : bytes
        JSON, where the request has one.

    Returns
    -------
    (int, JSON)
        Status, and the body of the response; of an error ``{"error_code": .., "message": ..}``.
    """
    parts = "/" + path.strip("/")
    known = False
    for pattern, methods in _ROUTES:
        match = pattern.fullmatch(parts)
        if match is None:
            continue
        known = True
        handler = methods.get(method)
        if handler is None:
            continue
        try:
            return 200, handler(registry, _parsed(body), *map(unquote, match.groups()))
        except _RefusedError as error:
            code, message = error.code, error.message
        except SchemaNotFoundError as error:
            code, message = SCHEMA_NOT_FOUND, error.message
        except IncompatibleSchemaError as error:
            return 409, {"error_code": 409, "message": error.message}
        except KsqlError as error:
            code, message = INVALID_SCHEMA, error.message
        return code // 100, {"error_code": code, "message": message}
    code = 405 if known else 404
    return code, {
        "error_code": code,
        "message": f"HTTP {code} {'Method Not Allowed' if known else 'Not Found'}",
    }


def _parsed(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        data = json.loads(body)
    except ValueError as error:
        raise _RefusedError(40000, f"The request is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _RefusedError(40000, "The request is not a JSON object")
    return data


def _subjects(registry: EmbeddedRegistry, data: Any) -> Any:
    return registry.subjects()


def _versions(registry: EmbeddedRegistry, data: Any, subject: str) -> Any:
    try:
        return registry.versions(subject)
    except SchemaNotFoundError as error:
        raise _RefusedError(SUBJECT_NOT_FOUND, error.message) from None


def _number(text: str) -> int | None:
    if text in ("latest", "-1"):
        return None
    if not text.isdecimal() or int(text) < 1:
        raise _RefusedError(
            INVALID_VERSION,
            f"The specified version '{text}' is not a valid version id. Allowed values are between "
            '[1, 2^31-1] and the string "latest"',
        )
    return int(text)


def _version(registry: EmbeddedRegistry, data: Any, subject: str, number: str) -> Any:
    wanted = _number(number)
    _versions(registry, data, subject)
    try:
        found = registry.version(subject, wanted)
    except SchemaNotFoundError as error:
        raise _RefusedError(VERSION_NOT_FOUND, error.message) from None
    return {"subject": subject, "version": found.version, "id": found.id, **found.schema.to_data()}


def _version_text(registry: EmbeddedRegistry, data: Any, subject: str, number: str) -> Any:
    return json.loads(_version(registry, data, subject, number)["schema"])


def _given_schema(registry: EmbeddedRegistry, data: dict[str, Any]) -> RegisteredSchema:
    """The schema of a request, checked to be one."""
    if not isinstance(data.get("schema"), str):
        raise _RefusedError(INVALID_SCHEMA, "Invalid schema: 'schema' must be a string")
    try:
        schema = RegisteredSchema.from_data(data)
        if schema.type == "PROTOBUF":
            ProtoSchema.of(schema.text, referenced(registry, schema))
        elif schema.type == "AVRO":
            fastavro.parse_schema(json.loads(schema.text), {})
        elif schema.type == "JSON":
            json.loads(schema.text)
        else:
            raise ValueError(f"unknown schema type {schema.type}")
    except (
        SchemaParseException,
        SchemaNotFoundError,
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ) as error:
        raise _RefusedError(INVALID_SCHEMA, f"Invalid schema: {error}") from None
    return schema


def _register(registry: EmbeddedRegistry, data: dict[str, Any], subject: str) -> Any:
    return {"id": registry.register(subject, _given_schema(registry, data), strict=True)}


def _find(registry: EmbeddedRegistry, data: dict[str, Any], subject: str) -> Any:
    wanted = _given_schema(registry, data)
    for number in _versions(registry, data, subject):
        found = registry.version(subject, number)
        if found.schema == wanted:
            return {"subject": subject, "version": number, "id": found.id, **wanted.to_data()}
    raise _RefusedError(SCHEMA_NOT_FOUND, "Schema not found")


def _delete(registry: EmbeddedRegistry, data: Any, subject: str) -> Any:
    _versions(registry, data, subject)
    return registry.delete_subject(subject)


def _schema(registry: EmbeddedRegistry, data: Any, number: str) -> Any:
    return registry.schema(int(number)).to_data()


def _uses(registry: EmbeddedRegistry, data: Any, number: str) -> Any:
    registry.schema(int(number))
    return [
        {"subject": subject, "version": version}
        for subject in registry.subjects()
        for version in registry.versions(subject)
        if registry.version(subject, version).id == int(number)
    ]


def _types(registry: EmbeddedRegistry, data: Any) -> Any:
    return ["JSON", "PROTOBUF", "AVRO"]


def _compatibility(registry: EmbeddedRegistry, data: Any, subject: str | None = None) -> Any:
    return {"compatibilityLevel": registry.compatibility(subject)}


def _set_compatibility(registry: EmbeddedRegistry, data: dict[str, Any], subject: str | None = None) -> Any:
    try:
        registry.set_compatibility(str(data.get("compatibility")), subject)
    except KsqlError as error:
        raise _RefusedError(INVALID_COMPATIBILITY, error.message) from None
    return {"compatibility": registry.compatibility(subject)}


def _forget_compatibility(registry: EmbeddedRegistry, data: Any, subject: str) -> Any:
    return {"compatibilityLevel": registry.forget_compatibility(subject)}


def _judge(registry: EmbeddedRegistry, data: dict[str, Any], subject: str, number: str | None = None) -> Any:
    """Say whether a subject would take a schema: because of one version, or of all that its level counts."""
    schema = _given_schema(registry, data)
    version = None
    if number is not None:
        version = _version(registry, data, subject, number)["version"]
    found = registry.incompatibilities(subject, schema, version)
    return {"is_compatible": not found, "messages": found}


def _mode(registry: EmbeddedRegistry, data: Any) -> Any:
    return {"mode": "READWRITE"}


_Handler = Callable[..., Any]
_ROUTES: list[tuple[re.Pattern[str], dict[str, _Handler]]] = [
    (re.compile(pattern), methods)
    for pattern, methods in (
        (r"/subjects", {"GET": _subjects}),
        (r"/subjects/([^/]+)", {"POST": _find, "DELETE": _delete}),
        (r"/subjects/([^/]+)/versions", {"GET": _versions, "POST": _register}),
        (r"/subjects/([^/]+)/versions/([^/]+)", {"GET": _version}),
        (r"/subjects/([^/]+)/versions/([^/]+)/schema", {"GET": _version_text}),
        (r"/schemas/ids/([0-9]{1,18})", {"GET": _schema}),
        (r"/schemas/ids/([0-9]{1,18})/versions", {"GET": _uses}),
        (r"/schemas/types", {"GET": _types}),
        (r"/config", {"GET": _compatibility, "PUT": _set_compatibility}),
        (
            r"/config/([^/]+)",
            {"GET": _compatibility, "PUT": _set_compatibility, "DELETE": _forget_compatibility},
        ),
        (r"/compatibility/subjects/([^/]+)/versions", {"POST": _judge}),
        (r"/compatibility/subjects/([^/]+)/versions/([^/]+)", {"POST": _judge}),
        (r"/mode", {"GET": _mode}),
    )
]
