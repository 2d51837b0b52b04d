"""Identifiers that grow: snowflakes, ULIDs, version-7 UUIDs."""

from __future__ import annotations

import random
import threading
import uuid
from typing import Final

from kalam_jupyter.engine.clock import Clock

#: Milliseconds from the Unix epoch to 2024-01-01T00:00:00Z, the epoch of KalamDB's ``_seq``.
KALAM_EPOCH_MS: Final = 1_704_067_200_000
UNIX_EPOCH_MS: Final = 0

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Snowflake:
    """Strictly increasing 63-bit ids: ``(ms since epoch) << 22 | worker << 12 | counter``.

    Never repeats and never goes back, also when the clock does, or gives more than 4,096 ids in a
    millisecond: the timestamp part then runs ahead of the clock.

    Parameters
    ----------
    clock : Clock
    epoch_ms : int
        `KALAM_EPOCH_MS` for ``_seq``, `UNIX_EPOCH_MS` for ``SNOWFLAKE_ID()``.
    worker : int
        0 to 1,023.
    """

    def __init__(self, clock: Clock, epoch_ms: int = KALAM_EPOCH_MS, worker: int = 0) -> None:
        if not 0 <= worker < 1024:
            raise ValueError(f"a worker id is 0 to 1023, not {worker}")
        self._clock = clock
        self._epoch_ms = epoch_ms
        self._worker = worker << 12
        self._last = -1
        self._lock = threading.Lock()

    def next(self) -> int:
        """Return the next id."""
        with self._lock:
            now = max(0, self._clock.now_ms() - self._epoch_ms)
            last = self._last
            if now > last >> 12:
                last = now << 12
            else:
                last += 1
            self._last = last
            return (last >> 12) << 22 | self._worker | (last & 0xFFF)

    def take(self, n: int) -> list[int]:
        """Return the next `n` ids."""
        with self._lock:
            now = max(0, self._clock.now_ms() - self._epoch_ms)
            first = max(now << 12, self._last + 1)
            self._last = first + n - 1
        if (first & 0xFFF) + n <= 0x1000:  # all of one millisecond
            start = (first >> 12) << 22 | self._worker | (first & 0xFFF)
            return list(range(start, start + n))
        return [(i >> 12) << 22 | self._worker | (i & 0xFFF) for i in range(first, first + n)]

    def advance_past(self, seen: int) -> None:
        """Make every later id greater than `seen` (an id read back after a restart)."""
        with self._lock:
            self._last = max(self._last, (seen >> 22) << 12 | 0xFFF)

    def timestamp_ms(self, value: int) -> int:
        """Return the Unix time in ms that an id carries."""
        return (value >> 22) + self._epoch_ms


class _Monotonic:
    """Random bits that grow by one within a millisecond, so that ids sort as they were made."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._lock = threading.Lock()
        self._ms = -1
        self._random = 0
        self._source = random.SystemRandom()

    def next(self, now_ms: int) -> tuple[int, int]:
        with self._lock:
            if now_ms > self._ms:
                self._ms, self._random = now_ms, self._source.getrandbits(self._bits - 1)
            else:
                self._random += 1
                if self._random >> self._bits:
                    self._ms, self._random = self._ms + 1, self._source.getrandbits(self._bits - 1)
            return self._ms, self._random


_ulid = _Monotonic(80)
_uuid7 = _Monotonic(74)


def ulid(now_ms: int) -> str:
    """Return a ULID of 26 Crockford characters; later ones of this process sort after it."""
    ms, low = _ulid.next(now_ms)
    value = ms << 80 | low
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def uuid7(now_ms: int) -> uuid.UUID:
    """Return a version-7 UUID (RFC 9562); later ones of this process sort after it."""
    ms, low = _uuid7.next(now_ms)
    high, low = low >> 62, low & ((1 << 62) - 1)
    return uuid.UUID(int=ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low)
