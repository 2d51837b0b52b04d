"""What makes an engine durable: lock file, log, checkpoints, and recovery from them."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from kalam_jupyter.engine import checkpoint
from kalam_jupyter.engine.entry import EntryReader, EntryWriter
from kalam_jupyter.engine.errors import LogCorruptError, LogWriteError
from kalam_jupyter.engine.lockfile import LockFile
from kalam_jupyter.engine.log import Log, LogEntry
from kalam_jupyter.engine.stored import Descriptors

if TYPE_CHECKING:
    from kalam_jupyter.engine.engine import Engine
    from kalam_jupyter.engine.transaction import Transaction

_log = logging.getLogger(__name__)

#: Log size in bytes, and number of entries, after which a checkpoint is made: they bound recovery.
CHECKPOINT_BYTES: Final = 64 << 20
CHECKPOINT_ENTRIES: Final = 50_000


class Storage:
    """The directory of a durable engine. The writer uses it; a checkpoint's files have their own thread."""

    def __init__(self, path: Path, engine: Engine, url: str | None) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / "data").mkdir(mode=0o700, exist_ok=True)
        self.path = path
        self.lock_file = LockFile(path)
        self.lock_file.acquire(url)
        self._engine = engine
        with contextlib.ExitStack() as failed:
            failed.callback(self.lock_file.release)
            self._log = Log(path / "log.sqlite")
            failed.callback(self._log.close)
            self._descriptors = Descriptors(engine.codecs)
            self._written = checkpoint.Written()
            self._recover()
            failed.pop_all()
        self._worker: threading.Thread | None = None
        self._finished: Callable[[], None] | None = None
        #: Size and number of the log's entries that the checkpoint under way will hold.
        self._captured = (0, 0)
        self._retry_size = 0
        self._asked = False
        #: How long commits take, lately, on average.
        self.commit_seconds = 0.0

    def _recover(self) -> None:
        engine, log = self._engine, self._log
        engine.scheduler.secret = log.meta("secret", random.SystemRandom().getrandbits(62))
        for number, text in log.descriptors():
            self._descriptors.load(number, text)
        self._written = checkpoint.load(self.path, engine, self._descriptors)
        checkpoint.delete_others(self.path, self._written)
        for entry in log.entries(after=engine.position):
            now_ms, operations = orjson.loads(entry.data)
            log.size += len(entry.data) + sum(map(len, entry.blobs))
            log.count += 1
            try:
                engine.writer.replay(entry.position, now_ms, self._applying(entry, operations))
            except Exception as error:  # whatever is wrong with it, the log cannot be trusted past it
                raise LogCorruptError(f"log entry {entry.position} cannot be applied: {error}") from error

    def _applying(self, entry: LogEntry, operations: Any) -> Callable[[Transaction], None]:
        return lambda tx: EntryReader(tx, entry.blobs, self._descriptors).apply(operations)

    def entry(self) -> EntryWriter:
        """Return what collects a transaction's operations."""
        return EntryWriter(self._descriptors)

    def commit(self, transactions: Sequence[Transaction]) -> None:
        """Write transactions to the log; they are durable when this returns.

        Raises
        ------
        LogWriteError
            If they cannot be written. None of them is then.
        """
        entries = [
            LogEntry(tx.position, tx.entry.data(tx.now_ms), tx.entry.blobs)
            for tx in transactions
            if tx.entry is not None
        ]
        began = time.perf_counter()
        self._log.commit(entries, self._descriptors.unwritten)
        self._descriptors.written()
        self.commit_seconds += (time.perf_counter() - began - self.commit_seconds) / 8

    # Checkpoints: captured in the writer, written beside it, finished in the writer again

    @property
    def under_way(self) -> bool:
        """Whether a checkpoint is being made."""
        return self._worker is not None

    @property
    def due(self) -> bool:
        """Whether a checkpoint is to be made."""
        log = self._log
        if self.under_way or self._engine.scheduler.retrying:
            return False
        return self._asked or log.size - self._retry_size > CHECKPOINT_BYTES or log.count > CHECKPOINT_ENTRIES

    def ask(self) -> None:
        """Have a checkpoint made however short the log is."""
        self._asked = True

    def tend(self) -> None:
        """Start a checkpoint when the log is long, finish one that is written. For the writer."""
        finished = self._finished
        if finished is not None:
            self._worker = self._finished = None
            finished()
        if self.due:
            self._asked = False
            taken = self._capture()
            self._worker = threading.Thread(
                target=self._write_beside, args=(taken,), name="kalam-engine-checkpoint", daemon=True
            )
            self._worker.start()

    def _capture(self) -> checkpoint.Capture:
        with self._engine.lock:
            self._captured = self._log.size, self._log.count
            return checkpoint.capture(self._engine, self._written)

    def _write_beside(self, taken: checkpoint.Capture) -> None:
        try:
            written = checkpoint.write(self.path, taken, self._written, self._descriptors)
        except Exception as error:  # the log still holds everything; a later checkpoint may succeed
            _log.warning("no checkpoint at position %d: %s", taken.position, error)
            self._finished = self._give_up
        else:
            self._finished = lambda: self._finish(taken, written)
        self._engine.writer.poke()

    def _give_up(self) -> None:
        self._retry_size = self._log.size
        self._log.count = 0

    def _finish(self, taken: checkpoint.Capture, written: checkpoint.Written) -> None:
        self._written = written
        states = {entry["id"]: entry["state"] for entry in written.manifest["processors"]}
        for one in taken.runners:
            if one.state is not None:
                name = states[one.runner.id]
                one.runner.forget(one.journal_length, dict(one.entry["base"]), self.path / "data" / name)
        checkpoint.delete_others(self.path, written)
        try:
            self._log.trim(taken.position)
        except LogWriteError as error:
            _log.warning("%s", error)
        size, count = self._captured
        self._log.size -= size
        self._log.count -= count
        self._retry_size = 0

    def close(self) -> None:
        """Make a last checkpoint, so that opening is quick, and let go of the directory."""
        if self._worker is not None:
            self._worker.join()
            if self._finished is not None:
                self._finished()
        if self._engine.position > self._written.position and not self._engine.scheduler.retrying:
            taken = self._capture()
            try:
                self._finish(taken, checkpoint.write(self.path, taken, self._written, self._descriptors))
            except Exception as error:  # as above: the log holds everything
                _log.warning("no checkpoint at close: %s", error)
        self._log.close()
        self.lock_file.release()
