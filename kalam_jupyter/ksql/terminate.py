"""Ending a cluster: ``POST /ksql/terminate`` (HTTP contract, section 11). There is no SQL for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.metastore import Metastore, Source
from kalam_jupyter.ksql.statements.run import State

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql


def topic_patterns(texts: Sequence[str]) -> list[re.Pattern[str]]:
    """Compile ``deleteTopicList``; KsqlError (40000) if an entry is no regular expression."""
    patterns = []
    for text in texts:
        try:
            patterns.append(re.compile(text))
        except re.error:
            raise KsqlError(f"Invalid pattern: {text}") from None
    return patterns


def terminate(ksql: Ksql, patterns: Sequence[re.Pattern[str]]) -> None:
    """End all queries and forget all definitions, in one transaction.

    Topics go too where a pattern matches the whole name, but only those that CREATE .. AS SELECT made:
    what somebody else wrote is never deleted. The caller holds the dialect's lock.
    """
    doomed = {s.topic: s for s in _sinks(ksql) if any(p.fullmatch(s.topic) for p in patterns)}

    def change(tx: Transaction) -> None:
        for query_id in ksql.running:
            ksql.queries.remove(tx, query_id)
        for key in ksql.engine.catalogue.names("ksql.statement"):
            tx.remove("ksql.statement", key)
        for topic in doomed:
            if ksql.engine.find_topic(topic) is not None:
                tx.drop_topic(topic)

    ksql.engine.transact(change)
    for source in doomed.values():
        ksql.schema_deleted(source)
    ksql.queries.clear()
    ksql.state = State(Metastore(system=ksql.metastore.system))
    for query in ksql.transient_queries():
        query.close()


def _sinks(ksql: Ksql) -> list[Source]:
    """Return the sources that CREATE .. AS SELECT made, those whose query was terminated too."""
    names = {q.sink for q in ksql.state.queries.values() if q.creates}
    names |= {v["name"] for _, v in ksql.engine.catalogue.items("ksql.statement") if v.get("terminated")}
    sources = ksql.metastore.sources
    return [sources[n] for n in sorted(names) if n in sources and not sources[n].read_only]
