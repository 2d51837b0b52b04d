"""One process per path: a locked file that says where its holder can be reached."""

from __future__ import annotations

import os
from pathlib import Path

from kalam_jupyter.engine.errors import EngineLockedError

if os.name == "nt":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        # past the text, since Windows keeps others from reading what is locked
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockFile:
    """The lock of an engine's directory, held until `release` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._descriptor: int | None = None

    def acquire(self, url: str | None) -> None:
        """Take the lock and leave `url` in it.

        Raises
        ------
        EngineLockedError
            If another engine, here or in another process, holds it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _try_lock(descriptor)
        except OSError:
            owner = os.read(descriptor, 4096).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise EngineLockedError(str(self._path.parent), owner or None) from None
        self._descriptor = descriptor
        self.set_url(url)

    def set_url(self, url: str | None) -> None:
        """Say where the holder can be reached."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, (url or "").encode(), 0)

    def release(self) -> None:
        """Give the lock up."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None
