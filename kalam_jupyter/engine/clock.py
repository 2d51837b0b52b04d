"""Processing time: real, or set by hand in tests and notebooks. Event time comes from records."""

from __future__ import annotations

import threading
import time


class Clock:
    """A clock that is the system's until somebody sets it.

    All values are milliseconds since 1970-01-01T00:00:00 UTC.
    """

    def __init__(self, fixed_ms: int | None = None) -> None:
        self._fixed = fixed_ms
        self._changed = threading.Condition()

    @property
    def manual(self) -> bool:
        """Whether time stands still until `set` or `advance`."""
        return self._fixed is not None

    def now_ms(self) -> int:
        """Return the current time in milliseconds."""
        fixed = self._fixed
        return time.time_ns() // 1_000_000 if fixed is None else fixed

    def set(self, now_ms: int | None) -> None:
        """Stop the clock at `now_ms`, or give it back to the system with None."""
        with self._changed:
            self._fixed = now_ms
            self._changed.notify_all()

    def advance(self, ms: int) -> int:
        """Move a stopped clock `ms` milliseconds on and return the new time.

        Raises
        ------
        ValueError
            If the clock is the system's.
        """
        with self._changed:
            if self._fixed is None:
                raise ValueError("only a clock that was set can be advanced")
            self._fixed += ms
            self._changed.notify_all()
            return self._fixed
