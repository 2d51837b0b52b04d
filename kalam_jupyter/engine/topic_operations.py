"""Operations on topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kalam_jupyter.engine.batch import Batch, StoredBatch
from kalam_jupyter.engine.catalogue import json_copy
from kalam_jupyter.engine.compaction import Compaction
from kalam_jupyter.engine.errors import AlreadyExistsError, EngineError, NotFoundError
from kalam_jupyter.engine.operations import Operations
from kalam_jupyter.engine.stored import check_payload
from kalam_jupyter.engine.topic import Topic


class TopicOperations(Operations, eq=False):
    """What a transaction can do with topics."""

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, Any] = {}) -> Topic:
        """Create a topic.

        Raises
        ------
        AlreadyExistsError, EngineError
        """
        self._check_open()
        topics = self.engine.topic_map
        if name in topics:
            raise AlreadyExistsError("topic", name)
        if partitions < 1:
            raise EngineError(f"a topic needs at least one partition, not {partitions}")
        config = json_copy(dict(config))
        topic = topics[name] = Topic(name, partitions, config, self.engine.lock)
        self._did(lambda: (topics.pop(name), None)[1], "create_topic", name, partitions, config)
        return topic

    def drop_topic(self, name: str) -> None:
        """Drop a topic and its records."""
        topic = self._topic(name)
        del self.engine.topic_map[name]
        forgotten = self.engine.scheduler.topic_dropped(name)
        topic.close(NotFoundError("topic", name))
        self.dropped.append(topic)

        def undo() -> None:
            self.engine.topic_map[name] = topic
            topic.reopen()
            self.engine.scheduler.topic_undropped(name, forgotten)

        self._did(undo, "drop_topic", name)

    def truncate_topic(self, name: str) -> None:
        """Drop a topic's records; sequences and offsets go on."""
        topic = self._topic(name)
        before = topic.truncate()
        self._did(lambda: topic.undo_truncate(before), "truncate_topic", name)

    def append(self, topic: str, batch: Batch) -> StoredBatch:
        """Append records and return where they are.

        Raises
        ------
        EngineError
            If a record names a partition that the topic does not have.
        RowError
            If a record does not fit the payload's schema.
        """
        found = self._topic(topic)
        check_payload(batch)
        stored = found.append_at(batch, self.position, self.now_ms)
        if stored.num_rows:
            self.topics[topic] = found
            self._did(lambda: found.undo_append(stored), "append", topic, batch)
            self.engine.scheduler.arrived(topic)
        return stored

    def compact_topic(self, topic: str, compaction: Compaction, items: Sequence[StoredBatch]) -> None:
        """Put what stays of a topic's first records in their place; see `Cleaner`."""
        found = self._topic(topic)
        before = found.compact(compaction, items, self.position)
        self._did(lambda: found.undo_compact(before), "compact_topic", topic, compaction)

    def commit_offset(self, topic: str, group: str, partition: int, offset: int) -> None:
        """Set the next offset that a consumer group reads; it never goes back."""
        found = self._topic(topic)
        before = found.commit_offset(group, partition, offset, self.now_ms)
        if before is None or offset > before.offset:
            self._did(
                lambda: found.undo_commit(group, partition, before),
                "commit_offset",
                topic,
                group,
                partition,
                offset,
            )
