"""The properties: one table that SET, UNSET, SHOW PROPERTIES, ``/is_valid_property`` and validation read.

Names of Kafka's own are in `kafka_properties`; they are taken, too, below ``ksql.streams.``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from kalam_jupyter.ksql.kafka_properties import is_kafka_property

#: Prefixes under which one property may be written.
PREFIXES = ("ksql.streams.consumer.", "ksql.streams.producer.", "ksql.streams.")
Kind = Literal["STRING", "BOOLEAN", "INT", "LONG"]
_MAX_INT, _MAX_LONG = (1 << 31) - 1, (1 << 63) - 1


@dataclass(frozen=True)
class Property:
    """A property that ksqlDB knows.

    Attributes
    ----------
    name : str
    default : str or None
    acts : str
        What it does here; empty where there is nothing for it to act on.
    kind : str
        What its values are: ``STRING``, ``BOOLEAN``, ``INT``, ``LONG``.
    choices : tuple of str
        The only values there are, if they are that few.
    listed : bool
        Whether SHOW PROPERTIES has it though nobody set it.
    editable : bool
        Whether it makes sense to SET it: others belong to the server.
    server : bool
        Whether a session's value is ignored: what a server's owner limits, its clients must not widen.
    """

    name: str
    default: str | None
    acts: str = ""
    kind: Kind = "STRING"
    choices: tuple[str, ...] = ()
    listed: bool = True
    editable: bool = True
    server: bool = False

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value; None if nothing is."""
        text = "" if value is None else str(value).strip()
        if self.choices and text.lower() not in self.choices:
            return f"String must be one of: {', '.join(self.choices)}"
        if self.kind == "BOOLEAN" and text.lower() not in ("true", "false"):
            return "Expected value to be either true or false"
        if self.kind in ("INT", "LONG"):
            limit = _MAX_INT if self.kind == "INT" else _MAX_LONG
            if not _is_integer(text) or not -limit - 1 <= int(text) <= limit:
                return f"Not a number of type {self.kind}"
        return None


def _is_integer(text: str) -> bool:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits.isdigit()


def _flag(name: str, default: bool, acts: str = "", **more: Any) -> Property:
    return Property(name, str(default).lower(), acts, "BOOLEAN", **more)


def _int(name: str, default: int, acts: str = "", **more: Any) -> Property:
    return Property(name, str(default), acts, "INT", **more)


def _long(name: str, default: int, acts: str = "", **more: Any) -> Property:
    return Property(name, str(default), acts, "LONG", **more)


_OWN: dict[str, Any] = {"editable": False}
_LIMIT: dict[str, Any] = {"editable": False, "server": True}
_HIDDEN = (
    "_confluent.*,__confluent.*,_schemas,__consumer_offsets,__transaction_state,connect-configs,"
    "connect-offsets,connect-status,connect-statuses"
)

_TABLE = (
    Property("ksql.service.id", "default_", "names consumer groups and the processing log's topic", **_OWN),
    Property("ksql.persistent.prefix", "query_", **_OWN),
    Property("ksql.transient.prefix", "transient_", **_OWN),
    Property("ksql.output.topic.name.prefix", "", "begins the names of sink topics that WITH does not name"),
    Property("ksql.extension.dir", "ext", **_OWN),
    Property("ksql.schema.registry.url", "", "schema registry to use instead of the embedded one", **_LIMIT),
    Property("ksql.connect.url", "http://localhost:8083", "Kafka Connect that runs connectors", **_LIMIT),
    Property("ksql.connect.worker.config", "", **_OWN),
    _long("ksql.connect.request.timeout.ms", 5000, "how long Kafka Connect may take to answer", **_LIMIT),
    Property("ksql.persistence.default.format.key", "KAFKA", "KEY_FORMAT where WITH has none"),
    Property("ksql.persistence.default.format.value", None, "VALUE_FORMAT where WITH has none"),
    Property("ksql.persistence.wrap.single.values", None, "WRAP_SINGLE_VALUE where WITH has none", "BOOLEAN"),
    _int("ksql.internal.topic.replicas", 1),
    _int("ksql.internal.topic.min.insync.replicas", 1),
    _flag("ksql.insert.into.values.enabled", True, "whether INSERT INTO .. VALUES is taken"),
    _flag("ksql.udfs.enabled", True, "whether users' Python functions are found", **_LIMIT),
    _flag("ksql.udf.collect.metrics", False, **_OWN),
    Property("ksql.access.validator.enable", "auto", **_OWN),
    Property("ksql.hidden.topics", _HIDDEN, "topics that LIST TOPICS leaves out without ALL", **_LIMIT),
    Property("ksql.readonly.topics", _HIDDEN, "topics that no statement may write to", **_LIMIT),
    _flag("ksql.pull.queries.enable", True, "whether pull queries are answered"),
    _flag("ksql.query.pull.table.scan.enabled", True, "pull queries without the whole key"),
    _flag("ksql.query.pull.range.scan.enabled", True, "pull queries by a range of keys"),
    _flag("ksql.query.pull.limit.clause.enabled", True, "LIMIT in pull queries"),
    _flag("ksql.query.pull.stream.enabled", True, "pull queries of streams"),
    _flag("ksql.query.pull.interpreter.enabled", True),
    _flag("ksql.query.pull.enable.standby.reads", False),
    _long("ksql.query.pull.max.allowed.offset.lag", _MAX_LONG),
    _int("ksql.query.pull.max.qps", _MAX_INT, "pull queries a second; more are refused (42900)", **_LIMIT),
    _int(
        "ksql.query.pull.max.concurrent.requests",
        _MAX_INT,
        "pull queries at the same time; more are refused (42900)",
        **_LIMIT,
    ),
    _int(
        "ksql.query.pull.max.hourly.bandwidth.megabytes",
        _MAX_INT,
        "megabytes of rows that pull queries read in an hour; then they are refused (42900)",
        **_LIMIT,
    ),
    _int("ksql.query.pull.thread.pool.size", 50, **_OWN),
    _flag("ksql.query.pull.metrics.enabled", True, **_OWN),
    _flag("ksql.query.push.v2.enabled", False, "scalable push queries"),
    _flag("ksql.query.push.v2.continuation.tokens.enabled", False),
    _int("ksql.query.persistent.active.limit", _MAX_INT, "persistent queries there may be", **_LIMIT),
    _long("ksql.query.retry.backoff.initial.ms", 15_000),
    _long("ksql.query.retry.backoff.max.ms", 900_000),
    _int("ksql.query.error.max.queue.size", 10),
    _int("ksql.query.status.running.threshold.seconds", 300, **_OWN),
    Property("ksql.error.classifier.regex", "", **_OWN),
    _flag(
        "ksql.heartbeat.enable", False, "whether /clusterStatus and /heartbeat answer", listed=False, **_LIMIT
    ),
    _long("ksql.heartbeat.window.ms", 2000, "how long a silent node counts as alive", listed=False, **_LIMIT),
    _flag(
        "ksql.lag.reporting.enable",
        False,
        "whether /lag answers, and /clusterStatus tells lags",
        listed=False,
        **_LIMIT,
    ),
    _flag("ksql.create.or.replace.enabled", True, "whether CREATE OR REPLACE is taken"),
    _flag("ksql.suppress.enabled", True, "whether EMIT FINAL is taken"),
    _long("ksql.suppress.buffer.size.bytes", -1),
    _flag("ksql.lambdas.enabled", True, "whether lambda functions are taken"),
    _flag("ksql.headers.columns.enabled", True, "whether columns may hold record headers"),
    _flag("ksql.source.table.materialization.enabled", True, "whether SOURCE TABLEs can be pulled"),
    _flag("ksql.variable.substitution.enable", True, "whether ${name} is replaced"),
    _flag("ksql.endpoint.migrate.query", True, "whether /query answers as /query-stream does"),
    _flag("ksql.timestamp.throw.on.invalid", False, "whether a bad timestamp column stops the query"),
    _flag("ksql.fail.on.deserialization.error", False, "whether a bad record stops the query", listed=False),
    _flag("ksql.cast.strings.preserve.nulls", True, "whether CAST of NULL to text is NULL, not `null`"),
    _flag(
        "ksql.nested.error.set.null",
        True,
        "whether a failing part of an expression is NULL, and not the whole of it",
    ),
    Property("ksql.properties.overrides.denylist", "", "properties that clients may not override", **_LIMIT),
    Property(
        "ksql.properties.overrides.validation.mode",
        "denylist",
        "allowlist: only ksql.properties.overrides.allowlist may be overridden",
        choices=("denylist", "allowlist"),
        **_LIMIT,
    ),
    Property(
        "ksql.properties.overrides.allowlist",
        "",
        "properties that clients may override",
        listed=False,
        **_LIMIT,
    ),
    Property("ksql.metrics.tags.custom", "", **_OWN),
    _long("ksql.authorization.cache.expiry.time.secs", 30, **_OWN),
    _flag("ksql.runtime.feature.shared.enabled", False, "whether ALTER SYSTEM is taken", **_LIMIT),
    Property("ksql.logging.processing.topic.name", None, "topic of its reports", listed=False, **_LIMIT),
    Property(
        "ksql.logging.processing.stream.name",
        "KSQL_PROCESSING_LOG",
        "name of the processing log's stream",
        listed=False,
        **_LIMIT,
    ),
    _int("ksql.max.push.queries", 100, "push queries at the same time", listed=False, **_LIMIT),
    _long("ksql.assert.topic.default.timeout.ms", 1000, listed=False),
    _long("ksql.assert.schema.default.timeout.ms", 1000, listed=False),
    _int("ksql.functions.collect_list.limit", 1000, "longest list of COLLECT_LIST", listed=False),
    _int("ksql.functions.collect_set.limit", 1000, "largest set of COLLECT_SET", listed=False),
    # What earlier releases knew, and scripts still set.
    Property("ksql.sink.partitions", None, listed=False),
    Property("ksql.sink.replicas", None, listed=False),
    Property("ksql.windowed.session.key.legacy", None, listed=False),
    Property(
        "ksql.new.query.planner.enabled",
        None,
        "the newer planner: a stream's projection says which keys stay, in which order",
        "BOOLEAN",
        listed=False,
    ),
    _long("ksql.streams.shutdown.timeout.ms", 300_000),
    Property("ksql.streams.bootstrap.servers", None, **_OWN),
    Property("ksql.streams.application.server", None, **_OWN),
    _long("ksql.streams.commit.interval.ms", 2000),
    _long("ksql.streams.cache.max.bytes.buffering", 10_000_000),
    _int("ksql.streams.num.stream.threads", 4),
    Property("ksql.streams.topology.optimization", "all"),
    Property(
        "ksql.streams.default.deserialization.exception.handler",
        "io.confluent.ksql.errors.LogMetricAndContinueExceptionHandler",
    ),
    Property(
        "ksql.streams.auto.offset.reset",
        "latest",
        "where streams are read from",
        choices=("latest", "earliest", "none"),
        listed=False,
    ),
)
PROPERTIES: dict[str, Property] = {p.name: p for p in _TABLE}
#: What may be set though it is not in the table.
_FAMILIES = ("ksql.functions.",)
#: Names that SHOW PROPERTIES says are of a query, when they are written like this.
QUERY_LEVEL = frozenset(
    {
        "auto.offset.reset",
        "buffered.records.per.partition",
        "cache.max.bytes.buffering",
        "max.task.idle.ms",
        "task.timeout.ms",
        "ksql.fail.on.deserialization.error",
        "ksql.cast.strings.preserve.nulls",
        "ksql.nested.error.set.null",
        "ksql.query.retry.backoff.max.ms",
        "ksql.query.pull.max.allowed.offset.lag",
        "ksql.query.pull.table.scan.enabled",
        "ksql.timestamp.throw.on.invalid",
    }
)


def canonical(name: str) -> str:
    """Return the one name of a property: ``auto.offset.reset`` is ``ksql.streams.auto.offset.reset``."""
    for prefix in PREFIXES[:2]:
        if name.startswith(prefix):
            name = "ksql.streams." + name[len(prefix) :]
    if not name.startswith("ksql.") and name != "ssl." and "." in name:
        return "ksql.streams." + name
    return name


def is_known(name: str) -> bool:
    """Whether a property, by its canonical name, is one of ksqlDB's or Kafka's."""
    if name in PROPERTIES or name.startswith(_FAMILIES):
        return True
    return name.startswith(PREFIXES[2]) and is_kafka_property(name.removeprefix(PREFIXES[2]))


def find(name: str) -> Property:
    """Return a property; one that is not in the table is a string without a default."""
    return PROPERTIES.get(canonical(name)) or Property(canonical(name), None, listed=False)
