"""PRINT: the records of a topic as text."""

from __future__ import annotations

from datetime import UTC, datetime

from kalam_jupyter.engine.engine import Engine
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.types import STRING
from kalam_jupyter.ksql.errors import UnknownTopicError
from kalam_jupyter.ksql.formats.guess import FormatGuess
from kalam_jupyter.ksql.formats.schema_registry import SchemaRegistry
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.runtime.transient import ResultColumn, ResultRow, TransientQuery
from kalam_jupyter.ksql.statements.run import Run


def print_query(run: Run, s: ast.Print, text: str) -> PrintQuery:
    """Start a PRINT."""
    engine: Engine = run.ksql.engine
    topic = engine.find_topic(s.topic)
    if topic is None:
        similar = [t for t in engine.topics() if t.lower() == s.topic.lower()]
        hint = f"\nDid you mean:\n\tprint {similar[0]};" if similar else ""
        raise UnknownTopicError(
            f"Could not find topic '{s.topic}', or the KSQL user does not have permissions to list the "
            f"topic. Topic names are case-sensitive.{hint}",
            topic=s.topic,
        )
    return PrintQuery(f"print_{s.topic}_{run.ksql.new_id()}", text, topic, run.schema_registry, s)


class PrintQuery(TransientQuery):
    """Follows a topic record by record.

    Attributes
    ----------
    keys, values : FormatGuess
        What the records polled so far may be.
    """

    def __init__(
        self, query_id: str, text: str, topic: Topic, registry: SchemaRegistry, statement: ast.Print
    ) -> None:
        super().__init__(query_id, "print", [ResultColumn("RECORD", STRING)], text, statement.limit)
        self._interval = statement.interval or 1
        self._seen = 0
        self.keys = FormatGuess(registry, is_key=True)
        self.values = FormatGuess(registry, is_key=False)
        self._subscription = topic.subscribe("earliest" if statement.from_beginning else "latest", self._wake)
        self.topic = topic

    def lag(self) -> dict[str, int]:
        """Return how many records of the topic were not looked at yet."""
        return {self.topic.name: self._subscription.lag}

    def _behind(self) -> bool:
        return self._subscription.lag > 0

    def _release(self) -> None:
        self._subscription.close()

    def _advance(self, max_rows: int) -> None:
        for stored in self._subscription.poll(max_rows):
            keys, values = stored.batch.encoded()
            timestamps = stored.batch.timestamp_list()
            partitions = stored.batch.partitions
            rows = []
            for i, (key, value, ts) in enumerate(zip(keys, values, timestamps, strict=True)):
                self._seen += 1
                if (self._seen - 1) % self._interval == 0:
                    partition = partitions if isinstance(partitions, int) else int(partitions[i])
                    rows.append(ResultRow((self._line(key, value, ts, partition),)))
            self._add(rows)

    def _line(self, key: bytes | None, value: bytes | None, ts: int, partition: int) -> str:
        moment = "N/A"
        if ts >= 0:
            text = datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y/%m/%d %H:%M:%S")
            moment = f"{text}.{ts % 1000:03d} Z"
        return (
            f"rowtime: {moment}, key: {self.keys.show(key)}, value: {self.values.show(value)}, "
            f"partition: {partition}"
        )
