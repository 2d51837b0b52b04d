"""Properties: names, defaults, aliases, and which of them a statement may override."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.kafka_properties import is_kafka_property

#: Prefixes under which one property may be written.
PREFIXES = ("ksql.streams.consumer.", "ksql.streams.producer.", "ksql.streams.")

DEFAULTS: dict[str, str | None] = {
    "ksql.service.id": "default_",
    "ksql.streams.auto.offset.reset": "latest",
    "ksql.persistence.default.format.key": "KAFKA",
    "ksql.persistence.default.format.value": None,
    "ksql.persistence.wrap.single.values": None,
    "ksql.output.topic.name.prefix": "",
    "ksql.query.pull.enable.standby.reads": "false",
    "ksql.query.pull.table.scan.enabled": "true",
    "ksql.query.pull.range.scan.enabled": "true",
    "ksql.query.pull.limit.clause.enabled": "true",
    "ksql.query.pull.stream.enabled": "true",
    "ksql.pull.queries.enable": "true",
    "ksql.query.push.v2.enabled": "false",
    "ksql.query.persistent.active.limit": "2147483647",
    "ksql.max.push.queries": "100",
    "ksql.variable.substitution.enable": "true",
    "ksql.timestamp.throw.on.invalid": "false",
    "ksql.schema.registry.url": "",
    "ksql.connect.url": "http://localhost:8083",
    "ksql.logging.processing.topic.name": None,
    "ksql.logging.processing.stream.name": "KSQL_PROCESSING_LOG",
    "ksql.insert.into.values.enabled": "true",
    "ksql.extension.dir": "ext",
    "ksql.source.table.materialization.enabled": "true",
    "ksql.nested.error.set.null": "true",
    "ksql.functions.collect_list.limit": "1000",
    "ksql.functions.collect_set.limit": "1000",
}


class Config(Mapping[str, Any]):
    """Layers of properties: defaults, the server's, and those of a session or request on top."""

    def __init__(self, *layers: Mapping[str, Any]) -> None:
        merged: dict[str, Any] = dict(DEFAULTS)
        for layer in layers:
            for name, value in layer.items():
                merged[canonical(name)] = value
        self._values = merged

    def __getitem__(self, name: str) -> Any:
        return self._values[canonical(name)]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def flag(self, name: str) -> bool:
        """Return a boolean property."""
        return str(self.get(name)).strip().lower() == "true"

    def flag_or_none(self, name: str) -> bool | None:
        """Return a boolean property, None where it is not set."""
        return None if self.get(name) is None else self.flag(name)

    def with_layer(self, layer: Mapping[str, Any]) -> Config:
        """Return these properties with `layer` on top."""
        return Config(self._values, layer)


#: What may be set though it has no default: families of properties, by prefix.
_OPEN_FAMILIES = (
    "ksql.functions.",
    "ksql.properties.",
    "ksql.new.query.planner",
    "ksql.sink.",
)
#: What clients may not override.
DENIED = frozenset({"ksql.service.id"})


def is_known(name: str) -> bool:
    """Whether a property, by its canonical name, is one of ksqlDB's or Kafka's."""
    if name in DEFAULTS or name.startswith(_OPEN_FAMILIES):
        return True
    return name.startswith(PREFIXES[2]) and is_kafka_property(name.removeprefix(PREFIXES[2]))


def check_known(name: str) -> None:
    """Refuse a property that nothing knows (KsqlError)."""
    known = canonical(name)
    if known in DENIED:
        raise KsqlError(
            "One or more properties overrides set locally are prohibited by the KSQL server denylist (use "
            "UNSET to "
            f"reset their default value): [{name}]"
        )
    if not is_known(known):
        raise KsqlError(f"Not recognizable as ksql, streams, consumer, or producer property: '{name}'")


def canonical(name: str) -> str:
    """Return the one name of a property: ``auto.offset.reset`` is ``ksql.streams.auto.offset.reset``."""
    for prefix in PREFIXES[:2]:
        if name.startswith(prefix):
            name = "ksql.streams." + name[len(prefix) :]
    if not name.startswith("ksql.") and name != "ssl." and "." in name:
        return "ksql.streams." + name
    return name
