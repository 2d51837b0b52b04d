"""Claims of consumer groups: in memory, so a restart hands out again what was not acknowledged."""

from __future__ import annotations

from heapq import heappop, heappush


class Claims:
    """What a consumer group holds of one partition: a cursor, and ranges handed out but not acknowledged.

    Attributes
    ----------
    cursor : int
        Where what was never handed out begins.
    done : int
        Everything before it is acknowledged.
    """

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.done = 0
        self._held: list[tuple[int, int, int]] = []  # heap of (until, begin, end)
        self._expired: list[tuple[int, int]] = []  # heap of (begin, end)

    def next(self, now_ms: int, limit: int) -> tuple[int, int | None]:
        """Return where to read, and where to stop at the latest.

        That is the first range, or a part of it, that was handed out too long ago; it is taken out. Else it
        is what was never handed out, as far as that goes.
        """
        held, expired = self._held, self._expired
        while held and (held[0][0] <= now_ms or held[0][2] <= self.done):
            heappush(expired, heappop(held)[1:])
        while expired and limit > 0:
            begin, end = heappop(expired)
            begin = max(begin, self.done)
            if begin + limit < end:
                heappush(expired, (begin + limit, end))
            if begin < end:
                return begin, min(begin + limit, end)
        return self.cursor, None

    def hand_out(self, begin: int, end: int, until_ms: int) -> None:
        """Claim a range for a while."""
        self.cursor = max(self.cursor, end)
        heappush(self._held, (until_ms, begin, end))

    def release(self, upto: int) -> None:
        """Forget what has been acknowledged."""
        self.done = max(self.done, upto + 1)
        self.cursor = max(self.cursor, self.done)
