"""The log: entries in order in an SQLite database (WAL, ``synchronous=FULL``).

An entry is acknowledged once `Log.commit` returned. The writer alone uses a log.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from kalam_jupyter.engine.errors import LogCorruptError, LogWriteError

FORMAT: Final = 1
#: SQLite's write-ahead log in bytes when SQLite moves it to the database: a thousand pages, and a bit.
WRITE_AHEAD: Final = 4 << 20 | 256 << 10

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value);
CREATE TABLE IF NOT EXISTS descriptor (number INTEGER PRIMARY KEY, text BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entry (position INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS blob (position INTEGER, number INTEGER, data BLOB NOT NULL,
                                 PRIMARY KEY (position, number));
"""
_ENTRY: Final = "INSERT INTO entry VALUES (?, ?)"


class LogEntry(msgspec.Struct, frozen=True):
    """One entry: its position, its JSON, and the Arrow data that the JSON refers to by number."""

    position: int
    data: bytes
    blobs: Sequence[Any]


class Log:
    """Entries on disk.

    Attributes
    ----------
    size : int
        Bytes written since the log was opened or trimmed.
    count : int
        Entries since then.
    """

    def __init__(self, path: Path) -> None:
        self.size = self.count = 0
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            try:
                self._prepare(path)
            except BaseException:
                self._db.close()  # or it would keep the lock, and nobody could try again
                raise
        except sqlite3.OperationalError as error:
            raise LogWriteError(f"the log at {path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise LogCorruptError(f"{path} is not a log: {error}") from error

    def _prepare(self, path: Path) -> None:
        os.chmod(path, 0o600)
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        # the lock file keeps others out already; without locks in shared memory a commit is cheaper
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (FORMAT,))
        found = self.meta("format")
        if found != FORMAT:
            raise LogCorruptError(f"the log at {path} has format {found}; this version reads {FORMAT}")
        with suppress(OSError):  # commits are slower then, nothing else
            _fill(path.with_name(f"{path.name}-wal"))

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def meta(self, key: str, default: Any = None) -> Any:
        """Return a value kept beside the entries; with a default, keep that if there is none."""
        if default is not None:
            self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, default))
        found = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def descriptors(self) -> list[tuple[int, bytes]]:
        """Return the descriptors of codecs by number."""
        return self._db.execute("SELECT number, text FROM descriptor ORDER BY number").fetchall()

    def entries(self, after: int) -> Iterator[LogEntry]:
        """Iterate over the entries after a position, in order."""
        rows = self._db.execute(
            "SELECT position, data FROM entry WHERE position > ? ORDER BY position", (after,)
        )
        for position, data in rows:
            blobs = self._db.execute(
                "SELECT data FROM blob WHERE position = ? ORDER BY number", (position,)
            ).fetchall()
            yield LogEntry(position, data, [blob for (blob,) in blobs])

    def commit(self, entries: Sequence[LogEntry], descriptors: Sequence[tuple[int, bytes]] = ()) -> None:
        """Write entries as one transaction; they are durable when this returns.

        Raises
        ------
        LogWriteError
            If they cannot be written. None of them is then.
        """
        db = self._db
        try:
            values: list[Any] = []
            blobs: list[tuple[int, int, Any]] = []
            size = 0
            for entry in entries:
                values += (entry.position, entry.data)
                size += len(entry.data)
                for number, blob in enumerate(entry.blobs):
                    blobs.append((entry.position, number, blob))
                    size += len(blob)
            # One statement is one transaction, and one wait for the interpreter: other threads may take long
            # to give it back after each.
            insert = _ENTRY + ", (?, ?)" * (len(entries) - 1)
            if not (descriptors or blobs):
                db.execute(insert, values)
            else:
                db.execute("BEGIN IMMEDIATE")
                db.executemany("INSERT INTO descriptor VALUES (?, ?)", descriptors)
                db.execute(insert, values)
                db.executemany("INSERT INTO blob VALUES (?, ?, ?)", blobs)
                db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise LogWriteError(f"the log cannot be written: {error}") from error
        self.count += len(entries)
        self.size += size

    def trim(self, position: int) -> None:
        """Forget the entries up to a position: a checkpoint holds them.

        Raises
        ------
        LogWriteError
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM blob WHERE position <= ?", (position,))
            self._db.execute("DELETE FROM entry WHERE position <= ?", (position,))
            self._db.execute("COMMIT")
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise LogWriteError(f"the log cannot be trimmed: {error}") from error


def _fill(path: Path) -> None:
    """Give SQLite's write-ahead log its size at once: a commit that makes it longer takes twice as long.

    Zeros are no entries of it: they do not have its checksums.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size < WRITE_AHEAD:
            file.write(bytes(WRITE_AHEAD - size))
            file.flush()
            os.fsync(file.fileno())
