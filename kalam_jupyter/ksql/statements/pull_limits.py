"""How many pull queries a server answers: by the second, at a time, and by what they read in an hour."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.runtime.transient import ResultRow, TransientQuery

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql

Q = TypeVar("Q", bound=TransientQuery)
_UNLIMITED = (1 << 31) - 1
_HOUR_MS = 3_600_000
_MEGABYTE = 1_000_000


class PullLimits:
    """Counts the pull queries of one server.

    Parameters
    ----------
    config : mapping
        Properties of the server.

    Attributes
    ----------
    active : bool
        Whether there is any limit.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._rate = int(config["ksql.query.pull.max.qps"])
        self._at_a_time = int(config["ksql.query.pull.max.concurrent.requests"])
        self._megabytes = int(config["ksql.query.pull.max.hourly.bandwidth.megabytes"])
        self.active = min(self._rate, self._at_a_time, self._megabytes) < _UNLIMITED
        self._tokens: float = self._rate
        self._filled_ms = 0
        self._running = 0
        self._hour_began_ms = 0
        self._bytes = 0
        self._lock = threading.Lock()

    def answer(self, ksql: Ksql, work: Callable[[], Q]) -> Q:
        """Return what `work` does: it starts a pull query.

        Raises
        ------
        KsqlError
            42900, if there are too many.
        """
        if not self.active:
            return work()
        with self._lock:
            now_ms = ksql.engine.clock.now_ms()
            self._check_concurrency(sum(q.kind == "stream_pull" for q in ksql.transient_queries()))
            self._check_bandwidth(now_ms)
            self._check_rate(now_ms)
            self._running += 1
        try:
            found = work()
        finally:
            with self._lock:
                self._running -= 1
        if self._megabytes < _UNLIMITED:
            found.measure(self._note)
        return found

    def _check_concurrency(self, of_streams: int) -> None:
        if self._running + of_streams >= self._at_a_time:
            raise _refused(
                "Host is at concurrency limit for pull queries. Currently set to maximum "
                f"{self._at_a_time} concurrent requests."
            )

    def _check_rate(self, now_ms: int) -> None:
        """Take a token of a bucket that holds a second's worth of them."""
        passed, self._filled_ms = max(0, now_ms - self._filled_ms), now_ms
        self._tokens = min(self._rate, self._tokens + passed * self._rate / 1000)
        if self._tokens < 1:
            raise _refused(f"Host is at rate limit for pull queries. Currently set to {self._rate} qps.")
        self._tokens -= 1

    def _check_bandwidth(self, now_ms: int) -> None:
        if now_ms - self._hour_began_ms >= _HOUR_MS:
            self._hour_began_ms, self._bytes = now_ms, 0
        if self._bytes >= self._megabytes * _MEGABYTE:
            raise _refused(
                "Host is at bandwidth rate limit for pull queries. Currently set to "
                f"{self._megabytes} megabytes an hour."
            )

    def _note(self, rows: Sequence[ResultRow]) -> None:
        """Count rows that a query read: their size as JSON."""
        size = sum(len(orjson.dumps(r.values, default=str, option=orjson.OPT_NON_STR_KEYS)) for r in rows)
        with self._lock:
            self._bytes += size


def _refused(message: str) -> KsqlError:
    return KsqlError(message, error_code=42900)
