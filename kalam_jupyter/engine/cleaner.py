"""The log cleaner: compacts topics beside the writer.

What stays is found in a thread of its own, on batches that never change; the writer then puts it in
place as an entry of the log like any other, if nothing has changed meanwhile that speaks against it.
A topic is looked at once half of its records, and at least `MIN_DIRTY`, came after the last time, and
compacted if a third of them would go. So it holds at most three times its keys and that many records,
besides what running processors have still to read, or to read again after a crash: since the last
checkpoint.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kalam_jupyter.engine.batch import StoredBatch
from kalam_jupyter.engine.compaction import Compaction, choose, rebuilt
from kalam_jupyter.engine.errors import EngineClosedError
from kalam_jupyter.engine.records import MIN_DIRTY
from kalam_jupyter.engine.topic import Topic

if TYPE_CHECKING:
    from kalam_jupyter.engine.engine import Engine
    from kalam_jupyter.engine.transaction import Transaction

Made = Sequence[StoredBatch]
#: Which share of a topic's records must go before it is compacted unasked: windows have many keys, and
#: to sort them costs more than the aggregation that made them.
WORTH: Final = 1 / 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Section:
    """The batches of a topic that may be compacted, and from when on records may not simply go."""

    items: Sequence[StoredBatch]
    upto: int
    tombstones: int
    expired: int


class Cleaner:
    """Decides when which topic is compacted, and does it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: dict[str, None] = {}
        self._worker: threading.Thread | None = None

    # For the writer

    def note(self, topic: Topic) -> None:
        """Remember a topic that is dirty."""
        self._due[topic.name] = None

    @property
    def due(self) -> bool:
        """Whether there is something to start."""
        return bool(self._due) and self._engine.scheduler.started and not self._busy

    @property
    def _busy(self) -> bool:
        return self._worker is not None and self._worker.is_alive()

    def tend(self) -> None:
        """Start a compaction beside the writer, if one is due."""
        if self.due:
            names = list(self._due)
            self._due.clear()
            self._worker = threading.Thread(
                target=self._clean_all, args=(names,), name="kalam-engine-cleaner", daemon=True
            )
            self._worker.start()

    def join(self) -> None:
        """Wait until nothing is under way."""
        if self._worker is not None:
            self._worker.join()

    # Beside it

    def _clean_all(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                self.clean(name, MIN_DIRTY // 2, WORTH)
            except EngineClosedError:
                return
            except Exception as error:  # whatever it is: the topic stays as it was, and is looked at again
                _log.warning("topic %s is not compacted: %s", name, error)

    def clean(self, name: str, least: int = 1, worth: float = 0.0) -> int:
        """Compact a topic; return how many records went.

        Parameters
        ----------
        name : str
        least : int
            How many new records it takes.
        worth : float
            Which share of all records must go, as far as a sample tells.

        Raises
        ------
        EngineError
            If the log cannot be written, or keys cannot be read.
        """
        engine = self._engine
        with engine.lock:
            topic = engine.find_topic(name)
            if topic is None or not topic.compacted:
                return 0
            section = self._section(topic)
            topic.not_yet()
            if section.upto - topic.cleaned.end < least:
                return 0
        chosen = choose(
            section.items, section.upto, topic.partitions, section.tombstones, section.expired, worth
        )
        if chosen is None:
            with engine.lock:
                topic.wait_until_doubled()
            return 0
        made = rebuilt(section.items, chosen)
        done = engine.transact(lambda tx: self._put(tx, topic, section.items, chosen, made))
        return sum(i.num_rows for i in section.items) - len(chosen.kept) if done else 0

    def _section(self, topic: Topic) -> _Section:
        items, upto = topic.compactable(self._engine.needed_from(topic.name))
        now_ms = self._engine.clock.now_ms()
        tombstones = min(topic.tombstones_before(now_ms), self._read_to(topic))
        return _Section(items, upto, tombstones, topic.expired_before(now_ms))

    def _read_to(self, topic: Topic) -> int:
        """Return how far everybody has read who has begun: a tombstone behind that would be missed."""
        positions = [*self._engine.scheduler.positions_in(topic.name), *topic.cursors()]
        return min((p for p in positions if p > topic.start), default=topic.end)

    def _put(
        self, tx: Transaction, topic: Topic, was: Sequence[StoredBatch], chosen: Compaction, made: Made
    ) -> bool:
        """Put what stays in place, unless the topic or its readers are not what they were."""
        if self._engine.find_topic(topic.name) is not topic or self._read_to(topic) < chosen.purged:
            return False
        now = topic.compactable(self._engine.needed_from(topic.name))[0]
        if len(now) < len(was) or any(a is not b for a, b in zip(was, now, strict=False)):
            return False
        tx.compact_topic(topic.name, chosen, made)
        return True
