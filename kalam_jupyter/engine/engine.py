"""The engine: one writer thread, and everything that it keeps consistent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from kalam_jupyter.engine.batch import Codec
from kalam_jupyter.engine.catalogue import Catalogue
from kalam_jupyter.engine.clock import Clock
from kalam_jupyter.engine.entry import EntryWriter
from kalam_jupyter.engine.errors import EngineClosedError, EngineError, LogWriteError, NotFoundError
from kalam_jupyter.engine.history import Subscription
from kalam_jupyter.engine.processor import RETRY_SECONDS, Processor, ProcessorStart, Scheduler, Step
from kalam_jupyter.engine.relation import Relation
from kalam_jupyter.engine.sources import SourceProvider
from kalam_jupyter.engine.storage import Storage
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import Schema

_log = logging.getLogger(__name__)
T = TypeVar("T")

#: Most transactions that share one commit.
GROUP: Final = 512
#: Groups of transactions after which processors get their turn even though more are waiting.
GROUPS_BEFORE_WAVE: Final = 16


@dataclass(frozen=True)
class _Task:
    function: Callable[[Transaction], Any]
    future: Future[Any]


@dataclass(frozen=True)
class _Outcome:
    value: Any = None
    error: BaseException | None = None
    callbacks: Sequence[Callable[[], None]] = ()


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
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._storage: Storage | None = None
        self.lock = threading.RLock()
        self.position = 0
        self.catalogue = Catalogue(self.lock)
        self.codecs: dict[str, Callable[[Mapping[str, Any]], Codec]] = {}
        self.sources: dict[str, SourceProvider] = {}
        self.relation_map: dict[str, Relation] = {}
        self.topic_map: dict[str, Topic] = {}
        self.scheduler = Scheduler(self)
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._broken: BaseException | None = None
        self._settled = threading.Condition(self.lock)
        self._settling = 0
        self._current: Transaction | None = None
        self._closing = False
        self._writer = threading.Thread(target=self._write, name="kalam-engine-writer", daemon=True)

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
            engine._storage = Storage(Path(path), engine, url)
        engine._writer.start()
        return engine

    @property
    def durable(self) -> bool:
        """Whether writes survive the process."""
        return self._storage is not None

    @property
    def path(self) -> Path | None:
        """The engine's directory, None in memory."""
        return None if self._storage is None else self._storage.path

    def set_url(self, url: str | None) -> None:
        """Say where this process can be reached, for whoever finds the path locked."""
        if self._storage is not None:
            self._storage.lock_file.set_url(url)

    def close(self) -> None:
        """Finish what is queued, make a checkpoint, and stop. Closing twice does nothing."""
        with self.lock:
            if self._closing:
                return
            self._closing = True
        self._queue.put(None)
        if threading.current_thread() is not self._writer:
            self._writer.join()

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

    def new_relation(self, name: str, schema: Schema, owned: bool) -> Relation:
        """Add a relation (the transaction and recovery do)."""
        relation = Relation(name, schema, owned, self.lock, lambda: self.position)
        self.relation_map[name] = relation
        return relation

    # Writing

    def submit(self, function: Callable[[Transaction], T]) -> Future[T]:
        """Queue a transaction and return its future.

        Raises
        ------
        EngineClosedError
        """
        if self._closing:
            raise self._closed_error()
        future: Future[T] = Future()
        self._queue.put(_Task(function, future))
        if self._closing and not self._writer.is_alive() and future.cancel():
            raise self._closed_error()
        return future

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
        if threading.current_thread() is self._writer:
            raise EngineError(
                "transact() would wait for itself: inside a transaction use the transaction, "
                "in a processor or callback use submit()"
            )
        return self.submit(function).result()

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

    def _inside(self, function: Callable[[Transaction], T]) -> T:
        """Run in the transaction that is under way if this is the writer, else in one of its own."""
        if threading.current_thread() is self._writer and self._current is not None:
            return function(self._current)
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
            if threading.current_thread() is self._writer:
                raise EngineError("settle() would wait for itself")
            if not self.scheduler.started:
                raise EngineError("processors are not fed before Engine.start()")
            self._settling += 1
            try:
                return self._settled.wait_for(
                    lambda: self._closing or self.scheduler.caught_up(chosen), timeout
                ) and self.scheduler.caught_up(chosen)
            finally:
                self._settling -= 1

    # The writer

    def _write(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # a defect: say so to everybody instead of letting them wait
            _log.exception("the engine's writer failed")
            self._broken = error
            self._closing = True
        self._stop()

    def _loop(self) -> None:
        groups = 0
        while True:
            tasks, stop = self._next_tasks()
            if tasks:
                self._run(tasks)
                groups += 1
            if self.scheduler.pending and (not tasks or groups >= GROUPS_BEFORE_WAVE or self._queue.empty()):
                groups = 0
                self.scheduler.wave()
                self._tell_settled()
            if self._storage is not None:
                self._storage.tend()
            if stop:
                return

    def _next_tasks(self) -> tuple[list[_Task], bool]:
        tasks: list[_Task] = []
        try:
            if not self.scheduler.pending:
                task = self._queue.get()
            elif self.scheduler.retrying:
                task = self._queue.get(timeout=RETRY_SECONDS)
            else:
                task = self._queue.get_nowait()
            while task is not None:
                tasks.append(task)
                if len(tasks) >= GROUP:
                    return tasks, False
                task = self._queue.get_nowait()
            return tasks, self._closing
        except Empty:
            return tasks, False

    def poke(self) -> None:
        """Make the writer look around."""
        self._queue.put(None)

    def _stop(self) -> None:
        if self._storage is not None:
            self._storage.close()
        while True:
            try:
                task = self._queue.get_nowait()
            except Empty:
                break
            if task is not None and task.future.set_running_or_notify_cancel():
                task.future.set_exception(self._closed_error())
        with self._settled:
            self._settled.notify_all()

    def _closed_error(self) -> EngineClosedError:
        if self._broken is not None:
            return EngineClosedError(f"the engine stopped: {self._broken!r}")
        return EngineClosedError("the engine is closed")

    def _run(self, tasks: Sequence[_Task]) -> None:
        running = [task for task in tasks if task.future.set_running_or_notify_cancel()]
        try:
            outcomes = self._apply([task.function for task in running])
        except LogWriteError as error:
            outcomes = [_Outcome(error=error)] * len(running)
        for task, outcome in zip(running, outcomes, strict=True):
            if outcome.error is not None:
                task.future.set_exception(outcome.error)
            else:
                task.future.set_result(outcome.value)
        self._tell_settled()

    def _tell_settled(self) -> None:
        if self._settling:
            with self._settled:
                self._settled.notify_all()

    def commit_steps(self, steps: Sequence[Step]) -> list[tuple[Step, BaseException]]:
        """Commit computed steps as one group; return those that could not be applied, and why.

        Raises
        ------
        LogWriteError
            If the log cannot be written; nothing was applied.
        """
        outcomes = self._apply([_taking(step) for step in steps])
        return [(s, o.error) for s, o in zip(steps, outcomes, strict=True) if o.error is not None]

    def replay(self, position: int, now_ms: int, function: Callable[[Transaction], None]) -> None:
        """Apply an entry of the log again (recovery does)."""
        tx = Transaction(self, position, now_ms, None)
        function(tx)
        tx.close()
        self.position = position
        self._publish(tx)

    def _apply(self, functions: Sequence[Callable[[Transaction], Any]]) -> list[_Outcome]:
        """Run functions as transactions of one group, commit them, publish them.

        Raises
        ------
        LogWriteError
            If the log cannot be written; nothing was applied.
        """
        outcomes: list[_Outcome] = []
        done: list[Transaction] = []
        with self.lock:
            outcomes.extend(self._apply_one(function, done) for function in functions)
            if self._storage is not None and done:
                try:
                    self._storage.commit(done)
                except BaseException:
                    for tx in reversed(done):
                        tx.rollback()
                    raise
            self.position += len(done)
            woken = [s for tx in done for s in self._publish(tx)]
        for subscription in woken:
            _call(subscription.notify)
        for outcome in outcomes:
            for callback in outcome.callbacks:
                _call(callback)
        return outcomes

    def _apply_one(self, function: Callable[[Transaction], Any], done: list[Transaction]) -> _Outcome:
        tx = Transaction(self, self.position + len(done) + 1, self.clock.now_ms(), self._entry())
        self._current = tx
        try:
            value = function(tx)
        except BaseException as error:  # the caller gets it; the writer lives on
            tx.rollback()
            return _Outcome(error=error)
        finally:
            tx.close()
            self._current = None
        if tx.changed:
            done.append(tx)
        return _Outcome(value, callbacks=tx.callbacks)

    def _entry(self) -> EntryWriter | None:
        return None if self._storage is None else self._storage.entry()

    def _publish(self, tx: Transaction) -> Iterable[Subscription[Any]]:
        """Show a committed transaction to subscribers and tidy up what it touched."""
        woken: list[Subscription[Any]] = []
        for relation, changes in tx.changes.values():
            woken.extend(relation.publish(changes))
        for name, topic in tx.topics.items():
            woken.extend(topic.subscriptions())
            topic.merge_small()
            keep = topic.retained_from(tx.now_ms)
            if keep > topic.start:
                needed = self.scheduler.needed_from(name)
                topic.drop_before(keep if needed is None else min(keep, needed))
        for gone in tx.dropped:
            woken.extend(gone.subscriptions() if isinstance(gone, Topic) else gone.dropped_subscriptions())
        for row_set in tx.touched.values():
            row_set.maintain()
        return woken


def _taking(step: Step) -> Callable[[Transaction], None]:
    return lambda tx: tx.take_step(step)


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # a reader's callback must not stop the writer
        _log.exception("a callback raised in the engine's writer")
