"""Names of Kafka's own properties, which ksqlDB takes with or without a ``ksql.streams.`` prefix.

They tune brokers' clients and have nothing to act on here, but a statement that sets one means the same on a
cluster, so they are taken; a name that is none of them is a mistake, and refused.
"""

from __future__ import annotations

_STREAMS = """
acceptable.recovery.lag application.id application.server auto.include.jmx.reporter
buffered.records.per.partition built.in.metrics.version cache.max.bytes.buffering client.id
commit.interval.ms connections.max.idle.ms default.client.supplier default.deserialization.exception.handler
default.dsl.store default.key.serde default.list.key.serde.inner default.list.key.serde.type
default.list.value.serde.inner default.list.value.serde.type default.production.exception.handler
default.timestamp.extractor default.value.serde dsl.store.suppliers.class enable.metrics.push
max.task.idle.ms max.warmup.replicas metadata.max.age.ms metric.reporters metrics.num.samples
metrics.recording.level metrics.sample.window.ms num.standby.replicas num.stream.threads poll.ms
probing.rebalance.interval.ms processing.guarantee rack.aware.assignment.non_overlap_cost
rack.aware.assignment.strategy rack.aware.assignment.tags rack.aware.assignment.traffic_cost
receive.buffer.bytes reconnect.backoff.max.ms reconnect.backoff.ms repartition.purge.interval.ms
replication.factor request.timeout.ms retries retry.backoff.ms rocksdb.config.setter security.protocol
send.buffer.bytes state.cleanup.delay.ms state.dir statestore.cache.max.bytes task.assignor.class
task.timeout.ms topology.optimization upgrade.from window.size.ms windowed.inner.class.serde
windowstore.changelog.additional.retention.ms bootstrap.servers
"""
_CONSUMER = """
allow.auto.create.topics auto.commit.interval.ms auto.offset.reset check.crcs client.dns.lookup client.rack
default.api.timeout.ms enable.auto.commit exclude.internal.topics fetch.max.bytes fetch.max.wait.ms
fetch.min.bytes group.id group.instance.id group.protocol group.remote.assignor heartbeat.interval.ms
interceptor.classes isolation.level key.deserializer max.partition.fetch.bytes max.poll.interval.ms
max.poll.records partition.assignment.strategy security.providers session.timeout.ms
socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms value.deserializer
"""
_PRODUCER = """
acks batch.size buffer.memory compression.type delivery.timeout.ms enable.idempotence key.serializer linger.ms
max.block.ms max.in.flight.requests.per.connection max.request.size metadata.max.idle.ms
partitioner.adaptive.partitioning.enable partitioner.availability.timeout.ms partitioner.class
partitioner.ignore.keys transaction.timeout.ms transactional.id value.serializer
"""
_NAMES = frozenset((_STREAMS + _CONSUMER + _PRODUCER).split())
#: Names below which everything is taken: security has many, internal ones start with underscores.
_FAMILIES = (
    "ssl.",
    "sasl.",
    "topic.",
    "admin.",
    "main.consumer.",
    "restore.consumer.",
    "global.consumer.",
    "__",
)


def is_kafka_property(name: str) -> bool:
    """Whether Kafka Streams or its clients know a property; `name` has no ksqlDB prefix."""
    return name in _NAMES or name.startswith(_FAMILIES)
