"""The writer: who runs transactions, one at a time, and makes them durable in groups.

One thread at a time has the writer's role. Mostly that is the writer's own thread, which takes all
queued functions as one group with one commit, and feeds the processors. A caller of `transact` that
finds the role free takes it for its own transaction: two changes of threads cost more than the rest.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal.signal converts enums, which costs 16 us
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from kalam_jupyter.engine.errors import EngineClosedError, EngineError, LogWriteError
from kalam_jupyter.engine.history import Subscription
from kalam_jupyter.engine.processor import RETRY_SECONDS, Step
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.transaction import Transaction

if TYPE_CHECKING:
    from kalam_jupyter.engine.engine import Engine

_log = logging.getLogger(__name__)
T = TypeVar("T")
Function = Callable[[Transaction], Any]
#: Called with what a transaction returned, or with what it or its commit raised.
Told = Callable[[Any, BaseException | None], None]

#: Most transactions that share one commit.
GROUP: Final = 512
#: A commit that takes less, in seconds, is not worth a change of threads.
QUICK_COMMIT: Final = 0.001
#: As a plain number: the enum costs a tenth of a microsecond each time.
_SIGINT: Final = int(signal.SIGINT)
#: Groups of transactions after which processors get their turn even though more are waiting.
GROUPS_BEFORE_WAVE: Final = 16


class _Outcome(msgspec.Struct, eq=False):
    value: Any = None
    error: BaseException | None = None
    callbacks: Sequence[Callable[[], None]] = ()

    def result(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


class _Task(msgspec.Struct, eq=False):
    function: Function
    told: Told
    future: Future[Any] | None = None

    @property
    def wanted(self) -> bool:
        """Whether nobody has cancelled it, which is too late from now on."""
        return self.future is None or self.future.set_running_or_notify_cancel()


class _Wait:
    """What a caller of `transact` waits in: a future takes three times as long to make and to tell."""

    __slots__ = ("_lock", "_outcome")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._outcome = _Outcome()

    def told(self, value: Any, error: BaseException | None) -> None:
        """End the wait."""
        self._outcome = _Outcome(value, error)
        self._lock.release()

    def result(self) -> Any:
        """Wait, and return or raise what was told."""
        self._lock.acquire()
        return self._outcome.result()


class Writer:
    """Runs transactions and feeds processors."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._role = threading.Lock()
        self._owner: int | None = None
        self._poked = False
        self._broken: BaseException | None = None
        self._stopped = False
        self.closing = False
        self.current: Transaction | None = None
        self._thread = threading.Thread(target=self._work, name="kalam-engine-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish what is queued and stop."""
        with self._engine.lock:
            if self.closing:
                return
            self.closing = True
        self.poke()
        if not self.mine:
            self._thread.join()

    @property
    def mine(self) -> bool:
        """Whether the calling thread has the writer's role."""
        return self._owner == threading.get_ident()

    def poke(self) -> None:
        """Make the thread look around."""
        if not self._poked or self._queue.empty():  # an interrupt may have come before the put
            self._poked = True
            self._queue.put(None)

    def _idle(self) -> bool:
        """Whether no transaction is queued; that the thread is to look around keeps no caller waiting."""
        return self._queue.qsize() <= self._poked

    # Callers

    def submit(self, function: Callable[[Transaction], T]) -> Future[T]:
        """Queue a transaction; see `Engine.submit`."""
        future: Future[T] = Future()

        def told(value: T, error: BaseException | None) -> None:
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)

        self._enqueue(_Task(function, told, future))
        return future

    def _enqueue(self, task: _Task) -> None:
        if self.closing:
            raise self._closed_error()
        self._queue.put(task)
        if self._stopped:
            self._refuse_queued()

    def submit_all(self, tasks: Sequence[tuple[Function, Told]]) -> None:
        """Queue transactions, or run them as one group right here; see `Engine.submit_all`."""
        storage = self._engine.storage
        quick = storage is None or storage.commit_seconds < QUICK_COMMIT
        outcomes: Sequence[_Outcome] | None = None
        if quick and not self.mine and not self.closing and self._idle():
            with _InterruptsDeferred(), suppress(EngineClosedError):
                outcomes = self._run_here([function for function, _ in tasks])
        if outcomes is None:
            for function, told in tasks:
                try:
                    self._enqueue(_Task(function, told))
                except EngineClosedError as error:
                    _call(told, None, error)
            return
        for (_, told), outcome in zip(tasks, outcomes, strict=True):
            _call(told, outcome.value, outcome.error)

    def transact(self, function: Callable[[Transaction], T]) -> T:
        """Run a transaction; see `Engine.transact`."""
        if self._idle():
            with _InterruptsDeferred():
                outcomes = self._run_here((function,))
            if outcomes is not None:
                return outcomes[0].result()  # type: ignore[no-any-return]
        if self.mine:
            raise EngineError(
                "transact() would wait for itself: inside a transaction use the transaction, "
                "in a processor or callback use submit()"
            )
        wait = _Wait()
        self._enqueue(_Task(function, wait.told))
        return wait.result()  # type: ignore[no-any-return]

    def _run_here(self, functions: Sequence[Function]) -> Sequence[_Outcome] | None:
        """Run transactions in the caller's thread; None if somebody else is writing."""
        if not self._role.acquire(blocking=False):
            return None
        self._owner = threading.get_ident()
        try:
            if self.closing:
                raise self._closed_error()
            return self._run(functions)
        except BaseException as error:
            self._break(error)
            raise
        finally:
            self._owner = None
            self._role.release()
            if self._has_work():
                self.poke()

    def _has_work(self) -> bool:
        storage = self._engine.storage
        if self._engine.scheduler.pending or self._engine.cleaner.due:
            return True
        return storage is not None and storage.due

    # The thread

    def _work(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            self._break(error)
        self._role.acquire()  # and never given back: nobody writes any more
        self._owner = threading.get_ident()
        if self._engine.storage is not None:
            self._engine.storage.close()
        self._stopped = True
        self._refuse_queued()
        self._engine.cleaner.join()
        self._engine.tell_settled()

    def _loop(self) -> None:
        groups = 0
        while True:
            tasks, stop = self._next_tasks()
            with self._role:
                self._owner = threading.get_ident()
                if tasks:
                    self._run_tasks(tasks)
                    groups += 1
                scheduler = self._engine.scheduler
                if scheduler.pending and (groups >= GROUPS_BEFORE_WAVE or self._queue.empty()):
                    groups = 0
                    scheduler.wave()
                    self._engine.tell_settled()
                if self._engine.storage is not None:
                    self._engine.storage.tend()
                self._engine.cleaner.tend()
                self._owner = None
            if stop:
                return

    def _next_tasks(self) -> tuple[list[_Task], bool]:
        tasks: list[_Task] = []
        scheduler = self._engine.scheduler
        try:
            if not scheduler.pending:
                task = self._queue.get()
            elif scheduler.retrying:
                task = self._queue.get(timeout=RETRY_SECONDS)
            else:
                task = self._queue.get_nowait()
            while task is not None:
                tasks.append(task)
                if len(tasks) >= GROUP:
                    return tasks, False
                task = self._queue.get_nowait()
            self._poked = False
            return tasks, self.closing
        except Empty:
            return tasks, self.closing

    def _break(self, error: BaseException) -> None:
        """Take no more work after a defect, and say so to everybody instead of letting them wait."""
        if not isinstance(error, EngineClosedError):
            _log.error("the engine's writer failed", exc_info=error)
            self._broken = error
            self.closing = True
            self.poke()

    def _refuse_queued(self) -> None:
        while True:
            try:
                task = self._queue.get_nowait()
            except Empty:
                return
            if task is not None and task.wanted:
                _call(task.told, None, self._closed_error())

    def _closed_error(self) -> EngineClosedError:
        if self._broken is not None:
            return EngineClosedError(f"the engine stopped: {self._broken!r}")
        return EngineClosedError("the engine is closed")

    def _run_tasks(self, tasks: Sequence[_Task]) -> None:
        running = [task for task in tasks if task.wanted]
        try:
            outcomes = self._run([task.function for task in running])
        except BaseException as error:
            self._break(error)
            outcomes = [_Outcome(error=self._closed_error())] * len(running)
        for task, outcome in zip(running, outcomes, strict=True):
            _call(task.told, outcome.value, outcome.error)

    def _run(self, functions: Sequence[Function]) -> Sequence[_Outcome]:
        try:
            outcomes = self._apply(functions)
        except LogWriteError as error:
            outcomes = [_Outcome(error=error)] * len(functions)
        self._engine.tell_settled()
        return outcomes

    # Groups

    def commit_steps(self, steps: Sequence[Step]) -> list[tuple[Step, BaseException]]:
        """Commit computed steps as one group; return those that could not be applied, and why.

        Raises
        ------
        LogWriteError
            If the log cannot be written; nothing was applied.
        """
        outcomes = self._apply([_taking(step) for step in steps])
        return [(s, o.error) for s, o in zip(steps, outcomes, strict=True) if o.error is not None]

    def replay(self, position: int, now_ms: int, function: Function) -> None:
        """Apply an entry of the log again (recovery does)."""
        tx = Transaction(self._engine, position, now_ms, None)
        function(tx)
        tx.close()
        self._engine.position = position
        self._engine.catalogue.publish()
        self._publish(tx)

    def _apply(self, functions: Sequence[Function]) -> list[_Outcome]:
        """Run functions as transactions of one group, commit them, publish them.

        Raises
        ------
        LogWriteError
            If the log cannot be written; nothing was applied.
        """
        engine, storage = self._engine, self._engine.storage
        outcomes: list[_Outcome] = []
        done: list[Transaction] = []
        with engine.lock:
            for function in functions:
                outcomes.append(self._apply_one(function, done))  # noqa: PERF401 (it reads `done`)
            if storage is not None and done:
                try:
                    storage.commit(done)
                except BaseException:
                    for tx in reversed(done):
                        tx.rollback()
                    raise
            engine.position += len(done)
            engine.catalogue.publish()
            woken = [s for tx in done for s in self._publish(tx)]
        for subscription in woken:
            _call(subscription.notify)
        for outcome in outcomes:
            for callback in outcome.callbacks:
                _call(callback)
        return outcomes

    def _apply_one(self, function: Function, done: list[Transaction]) -> _Outcome:
        engine = self._engine
        entry = None if engine.storage is None else engine.storage.entry()
        tx = Transaction(engine, engine.position + len(done) + 1, engine.clock.now_ms(), entry)
        self.current = tx
        try:
            value = function(tx)
        except BaseException as error:  # the caller gets it; the writer lives on
            tx.rollback()
            return _Outcome(error=error)
        finally:
            tx.close()
            self.current = None
        if tx.changed:
            done.append(tx)
        return _Outcome(value, None, tx.callbacks)

    def _publish(self, tx: Transaction) -> Sequence[Subscription[Any]]:
        """Show a committed transaction to subscribers and tidy up what it touched."""
        woken: list[Subscription[Any]] = []
        for relation, changes in tx.changes.values():
            woken.extend(relation.publish(changes))
        for name, topic in tx.topics.items():
            woken.extend(topic.subscriptions())
            topic.merge_small()
            keep = topic.retained_from(tx.now_ms)
            if keep > topic.start:
                needed = self._engine.needed_from(name)
                topic.drop_before(keep if needed is None else min(keep, needed))
            if topic.dirty:
                self._engine.cleaner.note(topic)
        for gone in tx.dropped:
            woken.extend(gone.subscriptions() if isinstance(gone, Topic) else gone.dropped_subscriptions())
        for row_set in tx.touched.values():
            row_set.maintain()
        return woken


def _taking(step: Step) -> Function:
    return lambda tx: tx.take_step(step)


def _call(callback: Callable[..., None], *arguments: Any) -> None:
    try:
        callback(*arguments)
    except Exception:  # a reader's callback must not stop the writer
        _log.exception("a callback raised in the engine's writer")


class _InterruptsDeferred:
    """Holds back KeyboardInterrupt in the main thread, so that it cannot tear a transaction."""

    __slots__ = ("_handler", "_held")

    def __enter__(self) -> None:
        self._handler: Any = None
        if threading.current_thread() is threading.main_thread():
            handler = _signal.getsignal(_SIGINT)
            if callable(handler):
                self._held: list[Any] = []
                self._handler = handler
                _signal.signal(_SIGINT, self._hold)

    def _hold(self, *arguments: Any) -> None:
        self._held.append(arguments)

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            _signal.signal(_SIGINT, self._handler)
            if self._held:
                self._handler(*self._held[0])
