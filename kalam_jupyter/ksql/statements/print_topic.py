"""PRINT: the records of a topic as text."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from kalam_jupyter.engine.engine import Engine
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.types import STRING
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.runtime.transient import ResultColumn, ResultRow, TransientQuery
from kalam_jupyter.ksql.statements.run import Run


def print_query(run: Run, s: ast.Print, text: str) -> TransientQuery:
    """Start a PRINT."""
    engine: Engine = run.ksql.engine
    topic = engine.find_topic(s.topic)
    if topic is None:
        similar = [t for t in engine.topics() if t.lower() == s.topic.lower()]
        hint = f"\nDid you mean:\n\tprint {similar[0]};" if similar else ""
        raise StatementError(
            f"Could not find topic '{s.topic}', or the KSQL user does not have permissions to list the "
            "topic. "
            f"Topic names are case-sensitive.{hint}"
        )
    source = next((x for x in run.metastore.sources.values() if x.topic == s.topic), None)
    return PrintQuery(f"print_{s.topic}_{run.ksql.new_id()}", text, topic, source, s)


class PrintQuery(TransientQuery):
    """Follows a topic record by record."""

    def __init__(
        self, query_id: str, text: str, topic: Topic, source: Source | None, statement: ast.Print
    ) -> None:
        super().__init__(query_id, "print", [ResultColumn("RECORD", STRING)], text, statement.limit)
        self._interval = statement.interval or 1
        self._seen = 0
        self._key_kind = None if source is None else source.key_format.info.name
        self._subscription = topic.subscribe("earliest" if statement.from_beginning else "latest", self._wake)
        self.topic = topic

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
        moment = datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y/%m/%d %H:%M:%S")
        return (
            f"rowtime: {moment}.{ts % 1000:03d} Z, key: {_shown(key, self._key_kind)}, "
            f"value: {_shown(value, None)}, partition: {partition}"
        )


def _shown(data: bytes | None, kind: str | None) -> str:
    """Show bytes as what they most likely are: JSON or text, else a number or hexadecimal digits."""
    if data is None:
        return "<null>"
    if kind == "KAFKA" and len(data) in (4, 8) and not _printable(data):
        return str(int.from_bytes(data, "big", signed=True))
    if data[:1] in b"{[":
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
        else:
            return data.decode()
    if _printable(data):
        return data.decode()
    if len(data) in (4, 8):
        return str(int.from_bytes(data, "big", signed=True))
    return "0x" + data.hex()


def _printable(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False
