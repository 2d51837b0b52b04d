"""Token buckets: how often somebody may do something."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

#: Buckets kept; the least recently used one goes first (a full bucket forgets nothing of interest).
_MAX_BUCKETS = 10_000
_FIRST_REFILL_S = 0.010


@dataclass
class _Bucket:
    tokens: float
    updated: float


@dataclass
class _Violations:
    count: int = 0
    banned_until: float = 0.0


@dataclass
class RateLimiter:
    """One token bucket per key, for any thread.

    Capacity equals the rate, so a second's worth may come at once.

    Attributes
    ----------
    clock : callable
        Seconds, monotonic.
    """

    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[Hashable, _Bucket] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allow(self, key: Hashable, per_second: float) -> bool:
        """Take one token of `key`; False when there is none. A rate of 0 allows everything."""
        if per_second <= 0:
            return True
        with self._lock:
            return self._take(key, per_second)

    def _take(self, key: Hashable, per_second: float) -> bool:
        now = self.clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(per_second, now)
            if len(self._buckets) > _MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            elapsed = now - bucket.updated
            if elapsed >= _FIRST_REFILL_S:
                bucket.tokens = min(per_second, bucket.tokens + elapsed * per_second)
                bucket.updated = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


@dataclass
class Limits:
    """The limiters of one server, shared by its mounts."""

    queries: RateLimiter = field(default_factory=RateLimiter)
    auth: RateLimiter = field(default_factory=RateLimiter)
    requests: RateLimiter = field(default_factory=RateLimiter)
    clock: Callable[[], float] = time.monotonic
    _violations: OrderedDict[str, _Violations] = field(default_factory=OrderedDict)

    def violation(self, address: str, ban_seconds: float) -> None:
        """Count a request over the rate; every tenth bans the address, longer each time up to six times."""
        found = self._violations.setdefault(address, _Violations())
        self._violations.move_to_end(address)
        if len(self._violations) > _MAX_BUCKETS:
            self._violations.popitem(last=False)
        found.count += 1
        if found.count % 10 == 0:
            found.banned_until = self.clock() + ban_seconds * min(6, found.count // 10)

    def banned(self, address: str) -> int:
        """Return for how many more seconds the address is banned, 0 if it is not."""
        found = self._violations.get(address)
        return 0 if found is None else max(0, math.ceil(found.banned_until - self.clock()))
