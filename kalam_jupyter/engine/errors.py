"""Errors the engine raises. A dialect turns them into its own wire format, in one place each."""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error that the engine raises on purpose."""


class EngineClosedError(EngineError):
    """The engine was closed, or is closing, and takes no more work."""


class EngineLockedError(EngineError):
    """Another process has this path open.

    Attributes
    ----------
    url : str or None
        Where that process can be reached, as its lock file says.
    """

    def __init__(self, path: str, url: str | None) -> None:
        self.url = url
        where = f"; it answers at {url}" if url else ""
        super().__init__(f"{path} is open in another process{where}")


class LogWriteError(EngineError):
    """The log could not be written (disk full, for example): nothing was applied, readers go on."""


class LogCorruptError(EngineError):
    """The log or a checkpoint holds something this version cannot read."""


class NotFoundError(EngineError):
    """No relation, topic or catalogue object has this name."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"{kind} '{name}' not found")


class AlreadyExistsError(EngineError):
    """A relation, topic or catalogue object of this name exists."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"{kind} '{name}' already exists")


class RowError(EngineError):
    """A row does not fit its schema: wrong number of values, wrong type, out of range, null."""


class DuplicateKeyError(EngineError):
    """An insert repeats a primary key.

    Attributes
    ----------
    key : tuple
        The key values.
    within_batch : bool
        True when the same insert holds the key twice, False when the relation has it.
    """

    def __init__(self, relation: str, key: tuple[object, ...], *, within_batch: bool = False) -> None:
        self.relation, self.key, self.within_batch = relation, key, within_batch
        where = "appears more than once in one insert into" if within_batch else "already exists in"
        super().__init__(f"primary key {key!r} {where} '{relation}'")


class OverrunError(EngineError):
    """A cursor fell behind what is retained.

    Attributes
    ----------
    lost : int
        How many records or changes can no longer be read.
    """

    def __init__(self, lost: int) -> None:
        self.lost = lost
        super().__init__(f"{lost} records are no longer retained")
