"""What the nodes of a cluster tell each other: who is alive, which queries it runs, how far its stores are.

This node is all of its cluster unless others send it heartbeats (``ksql.heartbeat.enable``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.plan.graph import stores_of
from kalam_jupyter.ksql.runtime.persistent import PersistentQuery
from kalam_jupyter.ksql.statements.explain import group_id

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql

#: How many other nodes are remembered; the one that was silent longest is forgotten first.
MAX_HOSTS = 256
_NO_LAGS: Mapping[str, Any] = {"stateStoreLags": {}, "updateTimeMs": 0}


@dataclass
class _Host:
    """What another node told: when it last gave a sign of life, and the lags of its stores."""

    seen_ms: int
    lags: Mapping[str, Any] = field(default_factory=lambda: _NO_LAGS)


class Cluster:
    """The nodes that this one knows of.

    Parameters
    ----------
    ksql : Ksql
    """

    def __init__(self, ksql: Ksql) -> None:
        self._ksql = ksql
        self._others: dict[str, _Host] = {}

    def heartbeat(self, message: Mapping[str, Any]) -> bool:
        """Take note that another node is alive: its ``hostInfo`` and ``timestamp``.

        False where nodes do not watch each other.

        Raises
        ------
        KsqlError
            If the message is not of that form.
        """
        if not self._ksql.config.flag("ksql.heartbeat.enable"):
            return False
        host, timestamp = message.get("hostInfo"), message.get("timestamp")
        if not isinstance(host, str) or not host or type(timestamp) is not int:
            raise KsqlError("A heartbeat needs `hostInfo` (host:port) and `timestamp` (milliseconds)")
        known = self._others.pop(host, None)
        seen = self._now_ms()
        self._others[host] = _Host(seen) if known is None else _Host(seen, known.lags)
        if len(self._others) > MAX_HOSTS:
            del self._others[next(iter(self._others))]
        return True

    def lag(self, message: Mapping[str, Any]) -> bool:
        """Take note of the lags of a node that sends heartbeats: ``ksqlHost`` and ``hostStoreLags``.

        False where nodes do not tell lags.

        Raises
        ------
        KsqlError
            If the message is not of that form.
        """
        if not self._ksql.config.flag("ksql.lag.reporting.enable"):
            return False
        host, lags = message.get("ksqlHost"), message.get("hostStoreLags")
        if not isinstance(host, str) or not isinstance(lags, dict) or "stateStoreLags" not in lags:
            raise KsqlError("Lags need `ksqlHost` (host:port) and `hostStoreLags`, with its `stateStoreLags`")
        if host in self._others:
            self._others[host].lags = lags
        return True

    def status(self, host: str) -> dict[str, Any] | None:
        """Return what ``GET /clusterStatus`` answers, this node being called `host`.

        None where nodes do not watch each other.
        """
        if not self._ksql.config.flag("ksql.heartbeat.enable"):
            return None
        now = self._now_ms()
        window = int(self._ksql.config["ksql.heartbeat.window.ms"])
        status = {
            name: _status(now - other.seen_ms <= window, other.seen_ms, {}, other.lags)
            for name, other in list(self._others.items())
        }
        status[host] = _status(True, now, self._queries(), self._lags(now))
        return {"clusterStatus": status}

    def _now_ms(self) -> int:
        return self._ksql.engine.clock.now_ms()

    def _queries(self) -> dict[str, Any]:
        found = {}
        for query_id, query in list(self._ksql.running.items()):
            topics = sorted({source.topic for source in query.plan.sources})
            found[query_id] = {
                "activeStores": _stores(query),
                "activePartitions": [
                    {"topic": topic, "partition": p}
                    for topic in topics
                    for p in range(self._ksql.engine.topic(topic).partitions)
                ],
                "standByStores": [],
                "standByPartitions": [],
            }
        return found

    def _lags(self, now: int) -> Mapping[str, Any]:
        """A store is as far as what its query has emitted: both are committed together."""
        if not self._ksql.config.flag("ksql.lag.reporting.enable"):
            return _NO_LAGS
        lags = {}
        for query_id, query in list(self._ksql.running.items()):
            topic = self._ksql.engine.topic(query.sink.topic)
            ends = [topic.partition_bounds(p)[1] for p in range(topic.partitions)]
            by_partition = {
                str(p): {"currentOffsetPosition": end, "endOffsetPosition": end, "offsetLag": 0}
                for p, end in enumerate(ends)
            }
            for store in _stores(query):
                name = f"{group_id(self._ksql.config, query_id)}#{store}"
                lags[name] = {"lagByPartition": by_partition, "size": len(by_partition)}
        return {"stateStoreLags": lags, "updateTimeMs": now}


def _status(alive: bool, seen_ms: int, queries: Mapping[str, Any], lags: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hostAlive": alive,
        "lastStatusUpdateMs": seen_ms,
        "activeStandbyPerQuery": queries,
        "hostStoreLags": lags,
    }


def _stores(query: PersistentQuery) -> list[str]:
    return sorted({store for step in query.plan.root.walk() for store in stores_of(step)})
