"""What ksqlDB's routes take and answer, in OpenAPI's words; see `kalam_server.openapi`."""

from __future__ import annotations

from kalam_server.kalam_handlers.schemas import BOOLEAN, COUNT, TEXT, array, content, record, ref
from kalam_server.ksql_handlers import (
    admin,
    frames,
    inserts_stream,
    query,
    schema_registry,
    statements,
    topology,
    ws_query,
)
from kalam_server.negotiate import ARROW, DELIMITED, JSON, KSQL_JSON, KSQL_PROTOBUF
from kalam_server.openapi import Fragment
from kalam_server.route import Route

MAP = {"type": ["object", "null"]}
_ERROR = ref("KsqlError")


def _answers(**more: Fragment) -> Fragment:
    """Return the answers of a route: its own (``ok`` is 200, ``_404`` is 404) and everybody's."""
    own = {"200" if name == "ok" else name.removeprefix("_"): answer for name, answer in more.items()}
    return {
        "401": content("No credentials, or none that are valid.", json=_ERROR),
        "403": content("The role or the origin does not allow it.", json=_ERROR),
        "404": content("`Accept` names nothing that is served.", text=TEXT),
        "503": content("The server is shutting down.", json=_ERROR),
        **own,
    }


_BAD = content("The request or a statement is wrong.", json=_ERROR)
_FAILED = content("The server failed.", json=_ERROR)


def _body(schema: Fragment, example: Fragment, *, required: bool = True) -> Fragment:
    """Return a request body: JSON, whatever type is declared."""
    described = {"schema": schema, "example": example}
    return {"required": required, "content": {JSON: described, KSQL_JSON: described}}


def _streamed(*types: str) -> Fragment:
    schemas = {JSON: {}, KSQL_JSON: {}, DELIMITED: TEXT, KSQL_PROTOBUF: TEXT, ARROW: {"format": "binary"}}
    return {"description": "Rows as they come.", "content": {t: {"schema": schemas[t]} for t in types}}


def _request(sql: str, properties: str, *, required: bool) -> Fragment:
    more = {properties: MAP, "sessionVariables": MAP}
    return record({sql: TEXT}, more) if required else record({}, {sql: {"type": ["string", "null"]}, **more})


_COUNT_OR_NULL: Fragment = {"type": ["integer", "null"], "minimum": 0}
_CLUSTER = ref("ClusterId")
_HEALTH = record({"isHealthy": BOOLEAN}, closed=True)
_SWITCHED_OFF: Fragment = {
    "description": "Switched off (`ksql.heartbeat.enable`, `ksql.lag.reporting.enable`)."
}


def _told(summary: str, required: Fragment) -> Fragment:
    """Return a message between the nodes of a cluster."""
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {JSON: {"schema": record(required)}}},
            "responses": _answers(
                ok=content("Taken.", json=record({"isOk": BOOLEAN}, closed=True)),
                _400=_BAD,
                _404=_SWITCHED_OFF,
            ),
        }
    }


SCHEMAS: Fragment = {
    "KsqlError": record(
        {
            "@type": {"enum": ["generic_error", "statement_error"]},
            "error_code": {"type": "integer"},
            "message": TEXT,
        },
        {"statementText": TEXT, "entities": {"type": "array"}},
        closed=True,
    ),
    "ClusterId": record(
        {
            "id": TEXT,
            "scope": record(
                {"path": array(TEXT), "clusters": {"type": "object", "additionalProperties": TEXT}},
                closed=True,
            ),
        },
        closed=True,
    ),
    "Topology": record(
        {
            **dict.fromkeys(("query_id", "statement", "state", "error"), TEXT),
            "time_ms": COUNT,
            "nodes": array(
                record(
                    {
                        **dict.fromkeys(("id", "kind", "label", "detail", "topic", "schema"), TEXT),
                        "stores": array(TEXT),
                        **dict.fromkeys(("records_in", "records_out", "lag"), _COUNT_OR_NULL),
                    },
                    closed=True,
                )
            ),
            "edges": array(array(TEXT)),
        },
        closed=True,
    ),
    "CommandStatus": record({"status": TEXT, "message": TEXT}, {"queryId": {"type": ["string", "null"]}}),
    "RegistryError": record({"error_code": {"type": "integer"}, "message": TEXT}, closed=True),
}

_ONE_SELECT = (DELIMITED, JSON, KSQL_JSON, KSQL_PROTOBUF, ARROW)
OPERATIONS: dict[type[Route], dict[str, Fragment]] = {
    admin.InfoHandler: {
        "get": {
            "summary": "Which version of ksqlDB this is",
            "responses": _answers(
                ok=content(
                    "The server.",
                    json=record(
                        {
                            "KsqlServerInfo": record(
                                {
                                    "version": TEXT,
                                    "kafkaClusterId": TEXT,
                                    "ksqlServiceId": TEXT,
                                    "serverStatus": {"enum": ["RUNNING", "ERROR", "DEGRADED"]},
                                },
                                closed=True,
                            )
                        },
                        closed=True,
                    ),
                )
            ),
        }
    },
    admin.KsqlHealthHandler: {
        "get": {
            "summary": "Whether the parts work",
            "responses": _answers(
                ok=content(
                    "Also when they do not.",
                    json=record(
                        {
                            "isHealthy": BOOLEAN,
                            "details": record(
                                {"metastore": _HEALTH, "kafka": _HEALTH, "commandRunner": _HEALTH},
                                closed=True,
                            ),
                            "serverState": TEXT,
                        },
                        closed=True,
                    ),
                )
            ),
        }
    },
    statements.KsqlHandler: {
        "post": {
            "summary": "Run statements that are not queries",
            "requestBody": _body(
                _request("ksql", "streamsProperties", required=False), {"ksql": "LIST STREAMS;"}
            ),
            "responses": _answers(
                ok=content("An entity for each statement that has one.", json=array({"type": "object"})),
                _400=_BAD,
                _409=content("It exists already.", json=_ERROR),
                _417=content("An ASSERT failed.", json=_ERROR),
                _428=content("It needs a schema registry.", json=_ERROR),
                _500=_FAILED,
            ),
        }
    },
    admin.TerminateHandler: {
        "post": {
            "summary": "End all persistent queries, delete topics",
            "requestBody": _body(
                record({}, {"deleteTopicList": {"type": ["array", "null"], "items": TEXT}}),
                {"deleteTopicList": []},
                required=False,
            ),
            "responses": _answers(ok=content("Done.", json=array({"type": "object"})), _400=_BAD),
        }
    },
    admin.CommandStatusesHandler: {
        "get": {
            "summary": "The commands and what became of them",
            "responses": _answers(
                ok=content(
                    "By command id.",
                    json=record(
                        {"commandStatuses": {"type": "object", "additionalProperties": TEXT}}, closed=True
                    ),
                )
            ),
        }
    },
    admin.CommandStatusHandler: {
        "get": {
            "summary": "What became of one command",
            "responses": _answers(
                ok=content("Its state.", json=ref("CommandStatus")),
                _404=content("There is no such command.", json=_ERROR, text=TEXT),
            ),
        }
    },
    query.QueryStreamHandler: {
        "post": {
            "summary": "Run one SELECT or PRINT, stream its rows",
            "requestBody": _body(_request("sql", "properties", required=True), {"sql": "SELECT * FROM S;"}),
            "responses": _answers(
                ok=_streamed(*_ONE_SELECT),
                _400=_BAD,
                _406={"description": "PRINT is text."},
                _429=content("Too many pull queries.", json=_ERROR),
                _500=_FAILED,
            ),
        }
    },
    query.QueryHandler: {
        "post": {
            "summary": "Run one SELECT or PRINT, stream its rows (older form)",
            "requestBody": _body(
                _request("ksql", "streamsProperties", required=True), {"ksql": "SELECT * FROM S;"}
            ),
            "responses": _answers(
                ok=_streamed(*_ONE_SELECT),
                _400=_BAD,
                _429=content("Too many pull queries.", json=_ERROR),
                _500=_FAILED,
            ),
        }
    },
    query.CloseQueryHandler: {
        "post": {
            "summary": "End a push query",
            "requestBody": _body(record({"queryId": TEXT}), {"queryId": "transient_S_1"}),
            "responses": _answers(ok={"description": "Ended."}, _400=_BAD),
        }
    },
    inserts_stream.InsertsStreamHandler: {
        "post": {
            "summary": "Rows in, acknowledgements out",
            "requestBody": {
                "required": True,
                "description": 'A line {"target": ..}, then a JSON object a line.',
                "content": {DELIMITED: {"schema": TEXT, "example": '{"target": "S"}\n{"K": 1, "V": "a"}\n'}},
            },
            "responses": _answers(ok={"description": "Acknowledgements as they come, untyped."}, _400=_BAD),
        }
    },
    ws_query.QuerySocket: {
        "get": {
            "summary": "A query's rows over a WebSocket",
            "parameters": [
                {"name": name, "in": "query", "schema": TEXT} for name in ("request", "access_token")
            ],
            "responses": _answers(
                _101={"description": "The connection is a WebSocket."},
                _400={"description": "No WebSocket handshake.", "content": {"text/html": {"schema": TEXT}}},
                _426={"description": "Only version 13 is spoken."},
            ),
        }
    },
    admin.PropertyHandler: {
        "get": {
            "summary": "Whether a client may override a property",
            "responses": _answers(ok=content("It may.", json={"const": True}), _400=_BAD),
        }
    },
    admin.ClusterStatusHandler: {
        "get": {
            "summary": "The nodes of the cluster, their queries and their lags",
            "responses": _answers(
                ok=content("By host.", json=record({"clusterStatus": {"type": "object"}}, closed=True)),
                _404=_SWITCHED_OFF,
            ),
        }
    },
    admin.HeartbeatHandler: _told(
        "A node tells that it is alive", {"hostInfo": TEXT, "timestamp": {"type": "integer"}}
    ),
    admin.LagHandler: _told(
        "A node tells the lags of its stores", {"ksqlHost": TEXT, "hostStoreLags": {"type": "object"}}
    ),
    admin.MetadataHandler: {
        "get": {
            "summary": "The version and the cluster's identity",
            "responses": _answers(
                ok=content("Both.", json=record({"version": TEXT, "clusterId": _CLUSTER}, closed=True))
            ),
        }
    },
    admin.MetadataIdHandler: {
        "get": {
            "summary": "The cluster's identity",
            "responses": _answers(ok=content("It.", json=_CLUSTER)),
        }
    },
    admin.CompanionHandler: {
        "get": {
            "summary": "Whether the process answers",
            "responses": {"200": content("It does.", json=record({}, closed=True))},
        }
    },
    admin.RootHandler: {
        "get": {
            "summary": "Points to /info",
            "responses": {"307": {"description": "See /info."}, **_answers()},
        }
    },
    frames.FrameHandler: {
        "post": {
            "summary": "A whole Arrow table into a stream",
            "parameters": [{"name": name, "in": "query", "schema": TEXT} for name in ("key", "timestamp")],
            "requestBody": {
                "required": True,
                "content": {ARROW: {"schema": {"type": "string", "format": "binary"}}},
            },
            "responses": _answers(
                ok=content("Stored.", json=record({"rows": COUNT}, closed=True)), _400=_BAD
            ),
        }
    },
    topology.QueryTopologyHandler: {
        "get": {
            "summary": "A query that runs, as a graph with record counts",
            "responses": _answers(ok=content("The graph.", json=ref("Topology")), _400=_BAD),
        }
    },
    topology.StatementTopologyHandler: {
        "post": {
            "summary": "A statement that would start a query, as a graph",
            "requestBody": _body(
                _request("ksql", "streamsProperties", required=True),
                {"ksql": "SELECT * FROM S;"},
            ),
            "responses": _answers(ok=content("The graph.", json=ref("Topology")), _400=_BAD, _500=_FAILED),
        }
    },
}

_REGISTRY_TYPE = "application/vnd.schemaregistry.v1+json"


def _registry(summary: str, schema: Fragment, *, body: Fragment | None = None) -> Fragment:
    """Return an operation of the schema registry's API."""
    refusals = {
        "400": "The request is wrong.",
        "404": "There is no such thing.",
        "409": "It is incompatible.",
        "422": "It cannot be.",
    }
    described: Fragment = {
        "summary": summary,
        "responses": {
            "200": {"description": "Done.", "content": {_REGISTRY_TYPE: {"schema": schema}}},
            "401": content("No credentials, or none that are valid.", json=_ERROR),
            "403": content("The role or the origin does not allow it.", json=_ERROR),
            "503": content("The server is shutting down.", json=_ERROR),
            **{
                status: {"description": text, "content": {_REGISTRY_TYPE: {"schema": ref("RegistryError")}}}
                for status, text in refusals.items()
            },
        },
    }
    if body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {t: {"schema": body} for t in (JSON, _REGISTRY_TYPE)},
        }
    return described


_OBJECT: Fragment = {"type": "object"}
_SCHEMA = record({"schema": TEXT}, {"schemaType": TEXT, "references": {"type": "array"}})
_LEVEL = record({"compatibility": TEXT})
_LEVELS: dict[str, Fragment] = {
    "get": _registry("The compatibility level", _OBJECT),
    "put": _registry("Set the compatibility level", _OBJECT, body=_LEVEL),
}
#: Routes whose handler has a table of its own: path below, method, operation.
SUB_ROUTES: dict[type[Route], dict[str, dict[str, Fragment]]] = {
    schema_registry.SchemaRegistryHandler: {
        "/subjects": {"get": _registry("The subjects", array(TEXT))},
        "/subjects/{subject}": {
            "post": _registry("Find a schema", _OBJECT, body=_SCHEMA),
            "delete": _registry("Delete a subject", array(COUNT)),
        },
        "/subjects/{subject}/versions": {
            "get": _registry("The versions of a subject", array(COUNT)),
            "post": _registry("Register a schema", _OBJECT, body=_SCHEMA),
        },
        "/subjects/{subject}/versions/{version}": {"get": _registry("A version", _OBJECT)},
        "/subjects/{subject}/versions/{version}/schema": {"get": _registry("A version's schema", {})},
        "/schemas/ids/{id}": {"get": _registry("A schema", _OBJECT)},
        "/schemas/ids/{id}/versions": {"get": _registry("Who uses a schema", array(_OBJECT))},
        "/schemas/types": {"get": _registry("The kinds of schemas", array(TEXT))},
        "/config": _LEVELS,
        "/config/{subject}": {
            **_LEVELS,
            "delete": _registry("Let a subject have the default level again", _OBJECT),
        },
        "/compatibility/subjects/{subject}/versions": {
            "post": _registry("Whether a subject would take a schema", _OBJECT, body=_SCHEMA)
        },
        "/compatibility/subjects/{subject}/versions/{version}": {
            "post": _registry("Whether a schema goes with a version", _OBJECT, body=_SCHEMA)
        },
        "/mode": {"get": _registry("Whether schemas may be registered", _OBJECT)},
    }
}
