"""What KalamDB's routes take and answer, in OpenAPI's words; see `kalam_server.openapi`."""

from __future__ import annotations

from kalam_server.kalam_handlers import auth, files, health, sql, topics, ws
from kalam_server.openapi import Fragment, OpenApiHandler
from kalam_server.route import Route

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
BOOLEAN = {"type": "boolean"}
MAYBE_TEXT = {"type": ["string", "null"]}


def ref(name: str) -> Fragment:
    """Refer to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: Fragment, optional: Fragment | None = None, *, closed: bool = False) -> Fragment:
    """Return the schema of an object."""
    found: Fragment = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }
    if closed:
        found["additionalProperties"] = False
    return found


def array(items: Fragment) -> Fragment:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


def content(description: str, **types: Fragment) -> Fragment:
    """Return an answer: ``json=``, ``text=`` or both."""
    names = {"json": "application/json", "text": "text/plain"}
    return {
        "description": description,
        "content": {names[kind]: {"schema": schema} for kind, schema in types.items()},
    }


def json_body(schema: Fragment, example: Fragment) -> Fragment:
    """Return a required JSON request body."""
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


GUARD = {
    "413": content("The body is too large.", json=ref("GuardError"), text=TEXT),
    "429": content("Too many requests.", json={"type": "object"}),
    "503": content("The server is shutting down.", text=TEXT),
}
_SQL = ref("SqlFailure")
_REFUSED = {
    "401": content("No credentials, or none that are valid.", json=_SQL),
    "403": content("The role does not allow it.", json=_SQL),
    **GUARD,
}
_AUTH = ref("AuthError")
_AUTH_REFUSED = {
    "401": content("Wrong credentials.", json=_AUTH),
    "403": content("Only from the server's own machine.", json=_AUTH),
    **GUARD,
}
_TOPIC = ref("TopicError")
_TOPIC_REFUSED = {
    "400": content("The request cannot be read.", text=TEXT),
    "401": content("No credentials, or none that are valid.", json=_SQL),
    "403": content("The role does not allow it.", json=_TOPIC),
    "404": content("There is no such topic.", json=_TOPIC),
    "500": content("The topic cannot be read.", json=_TOPIC),
    **GUARD,
}
_LOGIN_COOKIES = {"Set-Cookie": {"description": "kalamdb_auth and kalamdb_refresh", "schema": TEXT}}

SCHEMAS: Fragment = {
    "GuardError": record({"error": TEXT, "message": TEXT}, {"retry_after_seconds": COUNT}),
    "AuthError": record({"error": TEXT, "message": TEXT}, closed=True),
    "TopicError": record({"error": TEXT, "code": TEXT}, closed=True),
    "SqlFailure": record(
        {
            "status": {"const": "error"},
            "results": {"type": "array", "maxItems": 0},
            "took": {"type": "number"},
            "error": record({"code": TEXT, "message": TEXT}, {"details": TEXT}, closed=True),
        },
        closed=True,
    ),
    "SqlColumn": record(
        {
            "name": TEXT,
            "data_type": {"oneOf": [TEXT, {"type": "object", "minProperties": 1, "maxProperties": 1}]},
            "index": COUNT,
        },
        {"flags": array({"enum": ["nn", "pk", "uq"]})},
        closed=True,
    ),
    "SqlResult": record(
        {"row_count": COUNT, "as_user": TEXT},
        {"schema": array(ref("SqlColumn")), "rows": array({"type": "array"}), "message": TEXT},
        closed=True,
    ),
    "SqlResponse": record(
        {"status": {"const": "success"}, "results": array(ref("SqlResult")), "took": {"type": "number"}},
        {"error": {"type": "null"}},
        closed=True,
    ),
    "SqlRequest": record(
        {"sql": TEXT},
        {
            "params": {
                "type": ["array", "null"],
                "maxItems": 50,
                "items": {"type": ["null", "boolean", "number", "string"]},
            },
            "namespace_id": MAYBE_TEXT,
        },
    ),
    "User": record(
        {
            "id": TEXT,
            "role": {"enum": ["user", "service", "dba", "system"]},
            "email": MAYBE_TEXT,
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {"type": "string", "format": "date-time"},
        },
        closed=True,
    ),
    "LoginResponse": record(
        {
            "user": ref("User"),
            "admin_ui_access": BOOLEAN,
            "expires_at": {"type": "string", "format": "date-time"},
            "access_token": TEXT,
            "refresh_token": TEXT,
            "refresh_expires_at": {"type": "string", "format": "date-time"},
        },
        closed=True,
    ),
    "Health": record({"status": TEXT, "version": TEXT, "api_version": TEXT, "build_date": TEXT}, closed=True),
    "ClusterHealth": record(
        {
            "status": {"enum": ["healthy", "degraded", "unhealthy"]},
            "version": TEXT,
            "build_date": TEXT,
            "is_cluster_mode": BOOLEAN,
            "cluster_id": TEXT,
            "node_id": COUNT,
            "is_leader": BOOLEAN,
            "total_groups": COUNT,
            "groups_leading": COUNT,
            "current_term": COUNT,
            "last_applied": {"type": ["integer", "null"]},
            "millis_since_quorum_ack": {"type": ["integer", "null"]},
            "nodes": array({"type": "object"}),
        },
        closed=True,
    ),
    "TopicMessage": record(
        {
            "topic_id": TEXT,
            "partition_id": COUNT,
            "offset": COUNT,
            "payload": {"type": "string", "contentEncoding": "base64"},
            "key": MAYBE_TEXT,
            "timestamp_ms": COUNT,
            "op": {"enum": ["Insert", "Update", "Delete"]},
        },
        {"user": TEXT},
        closed=True,
    ),
}

_BYTES = {"schema": {"type": "string", "format": "binary"}}
_DOWNLOAD: Fragment = {
    "200": {"description": "The file.", "content": {"*/*": _BYTES}},
    "206": {
        "description": "The range that was asked for.",
        "headers": {"Content-Range": {"schema": TEXT}},
        "content": {"*/*": _BYTES},
    },
    "400": content("The path is not one of a file.", json=_SQL),
    "404": content("There is no such table or file.", json=record({"error": TEXT}, {"code": TEXT})),
    "416": content("The range lies behind the end.", json=_TOPIC),
    **_REFUSED,
}
_RANGE = {"name": "Range", "in": "header", "schema": {"type": "string", "examples": ["bytes=0-1023"]}}
_CREDENTIALS: Fragment = {"password": {"type": "string", "maxLength": 256}}
_USER = {"type": "string", "maxLength": 128}
_CONSUMER: Fragment = {
    "topic_id": {"type": "string", "minLength": 1, "pattern": r"\S"},
    "group_id": {"type": "string", "minLength": 1, "pattern": r"\S"},
}
_OFFSET = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_START = {
    "default": "Latest",
    "oneOf": [
        {"enum": ["Latest", "Earliest", "latest", "earliest"]},
        record({"Offset": _OFFSET}, closed=True),
        record({"offset": _OFFSET}, closed=True),
    ],
}


def _login_body() -> Fragment:
    return {
        "oneOf": [
            record({name: _USER, **_CREDENTIALS}, closed=True)
            # `username` is an alias of `user`.
            for name in ("user", "username")
        ]
    }


def _setup_body() -> Fragment:
    return {
        "oneOf": [
            record(
                {name: _USER, **_CREDENTIALS, "root_password": {"type": "string", "maxLength": 256}},
                {"email": {"type": ["string", "null"], "maxLength": 320}},
                closed=True,
            )
            for name in ("user", "username")
        ]
    }


_LOGGED_IN = {**content("Tokens.", json=ref("LoginResponse")), "headers": _LOGIN_COOKIES}
_NEAR = content("Only from the server's own machine.", json=record({"error": TEXT}))


def _download(summary: str, *parameters: Fragment) -> dict[str, Fragment]:
    """GET, and HEAD that answers the same without a body."""
    bare = {
        status: {name: value for name, value in answer.items() if name != "content"}
        for status, answer in _DOWNLOAD.items()
    }
    given = {"summary": summary, "parameters": list(parameters)}
    return {"get": {**given, "responses": _DOWNLOAD}, "head": {**given, "responses": bare}}


OPERATIONS: dict[type[Route], dict[str, Fragment]] = {
    sql.SqlHandler: {
        "post": {
            "summary": "Run SQL statements",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": ref("SqlRequest"),
                        "example": {"sql": "SELECT $1 AS answer", "params": [42]},
                    },
                    "multipart/form-data": {
                        "schema": record(
                            {"sql": {**TEXT, "description": 'FILE("x") stands for the part file:x.'}},
                            {
                                "params": {**TEXT, "contentMediaType": "application/json"},
                                "namespace_id": TEXT,
                            },
                        )
                    },
                },
            },
            "responses": {
                "200": {
                    "description": "A result for each statement; the counts of a batch summed up.",
                    "content": {
                        "application/json": {"schema": ref("SqlResponse")},
                        "application/vnd.apache.arrow.stream": _BYTES,
                    },
                },
                "400": content("A statement failed, or the request cannot be read.", json=_SQL),
                "409": content("The write conflicts with another.", json=_SQL),
                "500": content("Storing files or serialising a result failed.", json=_SQL),
                **_REFUSED,
            },
        }
    },
    auth.LoginHandler: {
        "post": {
            "summary": "Exchange a password for tokens",
            "security": [],
            "requestBody": json_body(_login_body(), {"user": "alice", "password": "Secret123!"}),
            "responses": {
                "200": _LOGGED_IN,
                "400": content("The request cannot be read.", text=TEXT),
                "428": content("The server waits for its first setup.", json=_AUTH),
                **_AUTH_REFUSED,
            },
        }
    },
    auth.RefreshHandler: {
        "post": {
            "summary": "Exchange a refresh token for new tokens",
            "security": [{"refresh_cookie": []}, {"bearer": []}],
            "responses": {"200": _LOGGED_IN, **_AUTH_REFUSED},
        }
    },
    auth.LogoutHandler: {
        "post": {
            "summary": "Clear the cookies",
            "security": [],
            "responses": {"200": content("Always.", json=record({"message": TEXT}, closed=True)), **GUARD},
        }
    },
    auth.MeHandler: {
        "get": {
            "summary": "Who the token belongs to",
            "security": [{"bearer": []}, {"auth_cookie": []}],
            "responses": {
                "200": content(
                    "The user.", json=record({"user": ref("User"), "admin_ui_access": BOOLEAN}, closed=True)
                ),
                **_AUTH_REFUSED,
            },
        }
    },
    auth.SetupHandler: {
        "post": {
            "summary": "First setup: root's password and a first dba",
            "security": [],
            "requestBody": json_body(
                _setup_body(), {"user": "admin", "password": "Secret123!", "root_password": "RootPass123!"}
            ),
            "responses": {
                "200": content("Done.", json=record({"user": ref("User"), "message": TEXT}, closed=True)),
                "400": content("A weak password, an illegal user, or no JSON.", json=_AUTH, text=TEXT),
                "409": content("Set up already.", json=_AUTH),
                **_AUTH_REFUSED,
            },
        }
    },
    auth.StatusHandler: {
        "get": {
            "summary": "Whether setup is still needed",
            "security": [],
            "responses": {
                "200": content(
                    "The state.", json=record({"needs_setup": BOOLEAN, "message": TEXT}, closed=True)
                ),
                **_AUTH_REFUSED,
            },
        }
    },
    topics.ConsumeHandler: {
        "post": {
            "summary": "Next messages of a consumer group",
            "requestBody": json_body(
                record(
                    _CONSUMER,
                    {
                        "start": _START,
                        "limit": {**_OFFSET, "default": 100},
                        "partition_id": {**_OFFSET, "default": 0},
                        "timeout_seconds": {
                            "type": ["integer", "null"],
                            "minimum": 0,
                            "description": "Wait so long for a first message.",
                        },
                    },
                ),
                {"topic_id": "app.events", "group_id": "g", "start": "Earliest", "limit": 10},
            ),
            "responses": {
                "200": content(
                    "Messages, claimed until acknowledged or the visibility timeout is over.",
                    json=record(
                        {"messages": array(ref("TopicMessage")), "next_offset": COUNT, "has_more": BOOLEAN},
                        closed=True,
                    ),
                ),
                **_TOPIC_REFUSED,
            },
        }
    },
    topics.AckHandler: {
        "post": {
            "summary": "Commit a group's offset",
            "requestBody": json_body(
                record({**_CONSUMER, "upto_offset": _OFFSET}, {"partition_id": {**_OFFSET, "default": 0}}),
                {"topic_id": "app.events", "group_id": "g", "upto_offset": 0},
            ),
            "responses": {
                "200": content(
                    "Committed.",
                    json=record({"success": BOOLEAN, "acknowledged_offset": COUNT}, closed=True),
                ),
                **_TOPIC_REFUSED,
            },
        }
    },
    health.HealthHandler: {
        "get": {
            "summary": "Whether the server runs",
            "security": [],
            "responses": {"200": content("It does.", json=ref("Health")), "403": _NEAR},
        }
    },
    health.ClusterHealthHandler: {
        "get": {
            "summary": "The one-node cluster",
            "security": [],
            "responses": {"200": content("Its state.", json=ref("ClusterHealth")), "403": _NEAR, **GUARD},
        }
    },
    files.FileHandler: _download(
        "Download a stored file", {"name": "user_id", "in": "query", "schema": TEXT}, _RANGE
    ),
    files.ExportHandler: _download("Download an export", _RANGE),
    ws.LiveSocket: {
        "get": {
            "summary": "Live queries over a WebSocket",
            "security": [],
            "responses": {
                "101": {"description": "The connection is a WebSocket."},
                "400": {"description": "No WebSocket handshake.", "content": {"text/html": {"schema": TEXT}}},
                "401": content("The token is not valid.", text=TEXT),
                "403": content("The origin may not call.", text=TEXT),
                "426": {"description": "Only version 13 is spoken."},
                **GUARD,
            },
        }
    },
    OpenApiHandler: {
        "get": {
            "summary": "This document",
            "responses": {"200": content("OpenAPI 3.1.", json={"type": "object"})},
        }
    },
}
__all__ = ["OPERATIONS", "SCHEMAS", "array", "content", "json_body", "record", "ref"]
