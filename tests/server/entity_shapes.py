"""The entities of POST /ksql as strict clients read them: exact members, exact types.

Java clients read each into a class of its own: a member that is missing, null where it may not be, or of
another type is a failure there, though no Python client would notice. HTTP contract, section 5.
"""

from collections.abc import Callable
from typing import Any

Check = Callable[[Any, str], None]


def fail(path: str, value: Any, wanted: str) -> None:
    raise AssertionError(f"{path}: {value!r} is not {wanted}")


def of(type_: type) -> Check:
    def check(value: Any, path: str) -> None:
        if type(value) is not type_:
            fail(path, value, type_.__name__)

    return check


TEXT, INT, BOOL, FLOAT = of(str), of(int), of(bool), of(float)


def maybe(inner: Check) -> Check:
    return lambda value, path: None if value is None else inner(value, path)


def one_of(*values: Any) -> Check:
    def check(value: Any, path: str) -> None:
        if value not in values:
            fail(path, value, f"one of {values}")

    return check


def many(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        of(list)(value, path)
        for i, item in enumerate(value):
            inner(item, f"{path}[{i}]")

    return check


def mapping(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        of(dict)(value, path)
        for key, item in value.items():
            inner(item, f"{path}.{key}")

    return check


def record(members: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """Exactly these members; the optional ones are absent rather than null."""
    optional = optional or {}

    def check(value: Any, path: str) -> None:
        of(dict)(value, path)
        missing, unknown = members.keys() - value.keys(), value.keys() - members.keys() - optional.keys()
        if missing or unknown:
            fail(path, value, f"complete: missing {sorted(missing)}, unknown {sorted(unknown)}")
        for name, inner in (members | optional).items():
            if name in value:
                inner(value[name], f"{path}.{name}")

    return check


SCHEMA_TYPE = one_of(
    *("BOOLEAN", "INTEGER", "BIGINT", "DOUBLE", "DECIMAL", "STRING", "BYTES", "TIMESTAMP", "DATE", "TIME"),
    *("ARRAY", "MAP", "STRUCT"),
)


def schema(value: Any, path: str) -> None:
    record(
        {"type": TEXT, "fields": maybe(many(field)), "memberSchema": maybe(schema)},
        {"parameters": record({"precision": INT, "scale": INT})},
    )(value, path)
    kind = value["type"]
    SCHEMA_TYPE(kind, f"{path}.type")
    assert (value["fields"] is not None) == (kind == "STRUCT"), path
    assert (value["memberSchema"] is not None) == (kind in ("ARRAY", "MAP")), path
    assert ("parameters" in value) == (kind == "DECIMAL"), path


def field(value: Any, path: str) -> None:
    record({"name": TEXT, "schema": schema}, {"type": one_of("KEY", "HEADER"), "headerKey": TEXT})(
        value, path
    )


QUERY_TYPE = one_of("PERSISTENT", "PUSH")
QUERY = record(
    {
        "queryString": TEXT,
        "sinks": many(TEXT),
        "sinkKafkaTopics": many(TEXT),
        "id": TEXT,
        "statusCount": mapping(INT),
        "queryType": QUERY_TYPE,
        "state": one_of("RUNNING", "ERROR"),
    }
)
OFFSETS = record({"partition": INT, "logStartOffset": INT, "logEndOffset": INT, "consumerOffset": INT})
STATISTIC = record({"name": TEXT, "host": TEXT, "value": FLOAT, "timestamp": INT})
SOURCE = record(
    {
        "name": TEXT,
        "windowType": maybe(one_of("TUMBLING", "HOPPING", "SESSION")),
        "readQueries": many(QUERY),
        "writeQueries": many(QUERY),
        "fields": many(field),
        "type": one_of("STREAM", "TABLE"),
        "timestamp": TEXT,
        "statistics": TEXT,
        "errorStats": TEXT,
        "extended": BOOL,
        "keyFormat": TEXT,
        "valueFormat": TEXT,
        "topic": TEXT,
        "partitions": INT,
        "replication": INT,
        "statement": TEXT,
        "queryOffsetSummaries": many(
            record(
                {
                    "groupId": TEXT,
                    "topicSummaries": many(record({"kafkaTopic": TEXT, "offsets": many(OFFSETS)})),
                }
            )
        ),
        "sourceConstraints": many(TEXT),
        "clusterStatistics": many(STATISTIC),
        "clusterErrorStats": many(STATISTIC),
    }
)
TASK = record(
    {
        "taskId": TEXT,
        "topicOffsets": many(
            record(
                {
                    "topicPartitionEntity": record({"topic": TEXT, "partition": INT}),
                    "endOffset": INT,
                    "committedOffset": INT,
                }
            )
        ),
        "timeCurrentIdlingStarted": maybe(INT),
    }
)
QUERY_DESCRIPTION = record(
    {
        "id": TEXT,
        "statementText": TEXT,
        "windowType": maybe(one_of("TUMBLING", "HOPPING", "SESSION")),
        "fields": many(field),
        "sources": many(TEXT),
        "sinks": many(TEXT),
        "topology": TEXT,
        "executionPlan": TEXT,
        "overriddenProperties": of(dict),
        "ksqlHostQueryStatus": mapping(one_of("RUNNING", "ERROR", "UNRESPONSIVE", "PAUSED")),
        "queryType": QUERY_TYPE,
        "queryErrors": many(
            record({"timestamp": INT, "errorMessage": TEXT, "type": one_of("UNKNOWN", "USER", "SYSTEM")})
        ),
        "tasksMetadata": many(TASK),
        "consumerGroupId": TEXT,
        "state": maybe(TEXT),
    }
)
LISTED = {"name": TEXT, "topic": TEXT, "keyFormat": TEXT, "valueFormat": TEXT, "isWindowed": BOOL}
ARGUMENT = record({"name": TEXT, "type": TEXT, "description": TEXT, "isVariadic": BOOL})
FUNCTION = record(
    {"arguments": many(ARGUMENT), "returnType": TEXT, "description": TEXT, "argumentTypes": many(TEXT)}
)
FUNCTION_TYPE = one_of("SCALAR", "AGGREGATE", "TABLE")
PROPERTY = record(
    {
        "name": TEXT,
        "scope": one_of("KSQL", "EMBEDDED CONNECT WORKER"),
        "value": maybe(TEXT),
        "editable": BOOL,
        "level": one_of("SERVER", "QUERY"),
    }
)
TOPIC = {"name": TEXT, "replicaInfo": many(INT)}
CONNECTOR_TYPE = one_of("source", "sink", "unknown")

#: Members besides ``@type``, ``statementText`` and ``warnings``, which all have.
ENTITIES: dict[str, dict[str, Check]] = {
    "currentStatus": {
        "commandId": TEXT,
        "commandStatus": record(
            {
                "status": one_of("QUEUED", "PARSING", "EXECUTING", "TERMINATED", "SUCCESS", "ERROR"),
                "message": TEXT,
                "queryId": maybe(TEXT),
            }
        ),
        "commandSequenceNumber": INT,
    },
    "warning_entity": {"message": TEXT},
    "terminate_query": {"queryId": TEXT, "wasTerminated": BOOL},
    "streams": {"streams": many(record({"type": one_of("STREAM"), **LISTED}))},
    "tables": {"tables": many(record({"type": one_of("TABLE"), **LISTED}))},
    "source_descriptions": {"sourceDescriptions": many(SOURCE)},
    "sourceDescription": {"sourceDescription": SOURCE},
    "queries": {"queries": many(QUERY)},
    "query_descriptions": {"queryDescriptions": many(QUERY_DESCRIPTION)},
    "queryDescription": {"queryDescription": QUERY_DESCRIPTION},
    "kafka_topics": {"topics": many(record(TOPIC))},
    "kafka_topics_extended": {
        "topics": many(record({**TOPIC, "consumerCount": INT, "consumerGroupCount": INT}))
    },
    "properties": {
        "properties": many(PROPERTY),
        "overwrittenProperties": many(TEXT),
        "defaultProperties": many(TEXT),
    },
    "function_names": {
        "functions": many(record({"name": TEXT, "type": FUNCTION_TYPE, "category": TEXT})),
    },
    "describe_function": {
        "name": TEXT,
        "description": TEXT,
        "author": TEXT,
        "version": TEXT,
        "path": TEXT,
        "functions": many(FUNCTION),
        "type": FUNCTION_TYPE,
    },
    "type_list": {"types": mapping(schema)},
    "variables": {"variables": many(record({"name": TEXT, "value": TEXT}))},
    "connector_info": {
        "info": record(
            {
                "name": TEXT,
                "config": mapping(TEXT),
                "tasks": many(record({"connector": TEXT, "task": INT})),
                "type": CONNECTOR_TYPE,
            }
        )
    },
    "connector_list": {
        "connectors": many(record({"name": TEXT}, {"type": CONNECTOR_TYPE, "className": TEXT, "state": TEXT}))
    },
    "drop_connector": {"connectorName": TEXT},
    "assert_topic": {"topicName": TEXT, "exists": BOOL},
    "assert_schema": {"subject": maybe(TEXT), "id": maybe(INT), "exists": BOOL},
}


def check_entity(entity: Any) -> str:
    """Check one entity; return its type."""
    kind = entity.get("@type")
    assert kind in ENTITIES, f"no client knows {kind!r}"
    common: dict[str, Check] = {
        "@type": TEXT,
        "statementText": TEXT,
        "warnings": many(record({"message": TEXT})),
    }
    record(common | ENTITIES[kind])(entity, kind)
    return kind
