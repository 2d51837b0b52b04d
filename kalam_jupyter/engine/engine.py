"""The engine: one writer thread, and everything that it keeps consistent."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from kalam_jupyter.engine.batch import Codec
from kalam_jupyter.engine.catalogue import Catalogue
from kalam_jupyter.engine.cleaner import Cleaner
from kalam_jupyter.engine.clock import Clock
from kalam_jupyter.engine.errors import EngineError, NotFoundError
from kalam_jupyter.engine.processor import Processor, ProcessorStart, Scheduler
from kalam_jupyter.engine.relation import Relation
from kalam_jupyter.engine.sources import SourceProvider
from kalam_jupyter.engine.storage import Storage
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import Schema
from kalam_jupyter.engine.writer import Function, Told, Writer

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Engine:
    """Log, catalogue, relations, topics and processors behind one writer thread.

    Open one with `Engine.open`. Reads may come from any thread and never wait for anything longer than
    a commit; changes are functions of a `Transaction` that the writer runs.

    Attributes
    ----------
    clock : Clock
        Processing time.
    codecs : dict
        Factories that rebuild a codec from its descriptor, by name; dialects register theirs.
    sources : dict
        `SourceProvider` by namespace.
    holds : list of callable
        Each takes a topic's name and returns the first sequence that a dialect still needs uncompacted, or
        None.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.storage: Storage | None = None
        self.lock = threading.RLock()
        self.position = 0
        self.catalogue = Catalogue(self.lock, lambda: self.writer.mine)
        self.codecs: dict[str, Callable[[Mapping[str, Any]], Codec]] = {}
        self.sources: dict[str, SourceProvider] = {}
        self.relation_map: dict[str, Relation] = {}
        self.topic_map: dict[str, Topic] = {}
        self.holds: list[Callable[[str], int | None]] = []
        self.scheduler = Scheduler(self)
        self.cleaner = Cleaner(self)
        self._settled = threading.Condition(self.lock)
        self._settling = 0
        self.writer = Writer(self)

    @classmethod
    def open(
        cls, path: str | Path | None = None, clock: Clock | None = None, url: str | None = None
    ) -> Engine:
        """Open the engine at a directory, or in memory.

        Parameters
        ----------
        path : str, Path or None
            Directory, created when missing; None keeps everything in memory.
        clock : Clock, optional
        url : str, optional
            Where this process can be reached, for whoever finds the path locked.

        Raises
        ------
        EngineLockedError
            If another process has the path open; it says where that one can be reached.
        LogCorruptError
            If the log or the checkpoint cannot be read.
        """
        engine = cls(clock or Clock())
        if path is not None:
            engine.storage = Storage(Path(path), engine, url)
        engine.writer.start()
        return engine

    @property
    def durable(self) -> bool:
        """Whether writes survive the process."""
        return self.storage is not None

    @property
    def path(self) -> Path | None:
        """The engine's directory, None in memory."""
        return None if self.storage is None else self.storage.path

    def checkpoint(self) -> None:
        """Have a checkpoint made now, beside the writer, not only when the log is long; none in memory."""
        if self.storage is not None:
            self.storage.ask()
            self.writer.poke()

    def set_url(self, url: str | None) -> None:
        """Say where this process can be reached, for whoever finds the path locked."""
        if self.storage is not None:
            self.storage.lock_file.set_url(url)

    def close(self) -> None:
        """Finish what is queued, make a checkpoint, and stop. Closing twice does nothing."""
        self.writer.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def relation(self, name: str) -> Relation:
        """Return a relation; NotFoundError if there is none of this name."""
        with self.lock:
            relation = self.relation_map.get(name)
        if relation is None:
            raise NotFoundError("relation", name)
        return relation

    def relations(self) -> list[str]:
        """Return the names of all relations, sorted."""
        with self.lock:
            return sorted(self.relation_map)

    def topic(self, name: str) -> Topic:
        """Return a topic; NotFoundError if there is none of this name."""
        topic = self.find_topic(name)
        if topic is None:
            raise NotFoundError("topic", name)
        return topic

    def find_topic(self, name: str) -> Topic | None:
        """Return a topic, or None."""
        with self.lock:
            return self.topic_map.get(name)

    def topics(self) -> list[str]:
        """Return the names of all topics, sorted."""
        with self.lock:
            return sorted(self.topic_map)

    def needed_from(self, topic: str) -> int | None:
        """Return the first sequence of a topic whose records have to stay as they are; None if none has."""
        needed = [self.scheduler.needed_from(topic), *(hold(topic) for hold in self.holds)]
        return min((n for n in needed if n is not None), default=None)

    def new_relation(self, name: str, schema: Schema, owned: bool) -> Relation:
        """Add a relation (the transaction and recovery do)."""
        relation = Relation(name, schema, owned, self.lock, lambda: self.position)
        self.relation_map[name] = relation
        return relation

    # Writing

    def submit(self, function: Callable[[Transaction], T]) -> Future[T]:
        """Queue a transaction for the writer's thread and return its future.

        Raises
        ------
        EngineClosedError
        """
        return self.writer.submit(function)

    def submit_all(self, tasks: Sequence[tuple[Function, Told]]) -> None:
        """As `submit`, for several at once, and perhaps in the calling thread.

        Where commits lately took less than a change of threads would, and nobody else is writing, the
        transactions are run here, as one group with one commit.

        Parameters
        ----------
        tasks : sequence of (function, told)
            `told` is called with what the function returned and None, or with None and what it raised, or
            why it could not be committed: here before this returns, or by the writer, whom it must not block.
        """
        self.writer.submit_all(tasks)

    def transact(self, function: Callable[[Transaction], T]) -> T:
        """Run a transaction and return what it returned, once it is durable.

        Raises
        ------
        EngineClosedError
        EngineError
            When called by the writer itself: inside a transaction, a processor or a callback.
        LogWriteError
            If the log cannot be written.
        Exception
            Whatever the function raises; nothing was changed then.
        """
        return self.writer.transact(function)

    def compact_topic(self, name: str) -> int:
        """Compact a topic now, which happens by itself as it grows; return how many records went.

        Its last batch stays as it is, and what processors have still to read, or to read again after a crash.

        Raises
        ------
        EngineClosedError, LogWriteError
        """
        return self.cleaner.clean(name)

    # Processors

    def add_processor(self, processor: Processor, start: ProcessorStart = "latest") -> None:
        """Register a processor, or give one that was recovered its processor back.

        Parameters
        ----------
        processor : Processor
        start : "earliest", "latest" or mapping of topic to sequence
            Where a new one starts to read; one that was recovered goes on where it was.

        Raises
        ------
        AlreadyExistsError
            If a processor with this id is running.
        NotFoundError
            If an input does not exist.
        """
        self._inside(lambda tx: tx.add_processor(processor, start))

    def remove_processor(self, processor_id: str) -> None:
        """Forget a processor and where it was; NotFoundError if there is none."""
        self._inside(lambda tx: tx.remove_processor(processor_id))

    def pause_processor(self, processor_id: str) -> None:
        """Stop feeding a processor; remembered over restarts."""
        self._inside(lambda tx: tx.pause_processor(processor_id, True))

    def resume_processor(self, processor_id: str) -> None:
        """Feed a paused or failed processor again.

        One that failed is first rebuilt from its last checkpoint and the steps since.

        Raises
        ------
        EngineError
            If it cannot be rebuilt, since its input is no longer retained.
        """
        self._inside(lambda tx: tx.resume_processor(processor_id))

    def processor_positions(self, processor_id: str) -> dict[str, int]:
        """Return the sequence of the next record of each input."""
        with self.lock:
            return dict(self.scheduler.runner(processor_id).positions)

    def behind(self) -> int:
        """Return how many records the running processors have still to consume; 0: they are caught up."""
        with self.lock:
            return self.scheduler.behind()

    def _inside(self, function: Callable[[Transaction], T]) -> T:
        """Run in the transaction that is under way if this is the writer, else in one of its own."""
        if self.writer.mine and self.writer.current is not None:
            return function(self.writer.current)
        return self.transact(function)

    def start(self) -> None:
        """Start feeding processors. Call it once the dialects have registered theirs."""
        self.transact(lambda tx: tx.start_processors())

    def settle(self, timeout: float = 10.0, ids: Iterable[str] | None = None) -> bool:
        """Wait until the running processors (of `ids`) have consumed everything.

        Returns
        -------
        bool
            False when `timeout` seconds passed first.

        Raises
        ------
        EngineError
            When called by the writer itself, or before `start` while there is something to consume.
        """
        chosen = None if ids is None else list(ids)
        with self._settled:
            if self.scheduler.caught_up(chosen):
                return True
            if self.writer.mine:
                raise EngineError("settle() would wait for itself")
            if not self.scheduler.started:
                raise EngineError("processors are not fed before Engine.start()")
            self._settling += 1
            try:
                return self._settled.wait_for(
                    lambda: self.writer.closing or self.scheduler.caught_up(chosen), timeout
                ) and self.scheduler.caught_up(chosen)
            finally:
                self._settling -= 1

    def catch_up(self, ids: Iterable[str], timeout: float) -> bool:
        """Wait until each processor in turn has consumed what its inputs held when its turn came.

        Unlike `settle` this ends although records go on arriving.

        Parameters
        ----------
        ids : iterable of str
            Upstream first, so that a chain is waited for from its source to its end.
        timeout : float
            Seconds, for all of them.

        Returns
        -------
        bool
            False when `timeout` seconds passed first.

        Raises
        ------
        EngineError
            When called by the writer itself.
        """
        deadline = time.monotonic() + timeout
        with self._settled:
            for processor_id in ids:
                ends = self.scheduler.input_ends(processor_id)
                if self.scheduler.reached(processor_id, ends):
                    continue
                if self.writer.mine:
                    raise EngineError("catch_up() would wait for itself")
                self._settling += 1
                try:
                    reached = functools.partial(self.scheduler.reached, processor_id, ends)
                    done = self._settled.wait_for(
                        functools.partial(self._closing_or, reached), deadline - time.monotonic()
                    )
                finally:
                    self._settling -= 1
                if not done or not self.scheduler.reached(processor_id, ends):
                    return False
        return True

    def _closing_or(self, reached: Callable[[], bool]) -> bool:
        return self.writer.closing or reached()

    def tell_settled(self) -> None:
        """Let those who wait in `settle` look again (the writer does)."""
        if self._settling:
            with self._settled:
                self._settled.notify_all()
