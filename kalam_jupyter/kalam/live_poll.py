"""Polling many live queries at once: those that stand at the same place are polled once."""

from __future__ import annotations

from collections.abc import Sequence

from kalam_jupyter.kalam.errors import KalamError, StatementError
from kalam_jupyter.kalam.live_message import LiveChange
from kalam_jupyter.kalam.live_query import LiveQuery, Stand, newest

Found = Sequence[LiveChange] | KalamError
#: Up to so many unread changes are worked out in microseconds each.
FEW = 32


class Companions:
    """Live queries that will be polled together.

    Parameters
    ----------
    queries : sequence of LiveQuery
    """

    def __init__(self, queries: Sequence[LiveQuery]) -> None:
        self._queries = queries
        groups: dict[Stand | int, list[int]] = {}
        for i, query in enumerate(queries):
            stand = query.stand
            groups.setdefault(i if stand is None else stand, []).append(i)
        self._groups = groups

    @property
    def light(self) -> bool:
        """Whether polling takes so little that any thread may do it."""
        leaders = [self._queries[group[0]] for group in self._groups.values()]
        return len(leaders) <= FEW and all(q.light and q.lag <= FEW for q in leaders)

    def poll(self, max_changes: int) -> list[Found]:
        """Poll each live query, in order; an error stands in the place of its changes."""
        found: list[Found] = [()] * len(self._queries)
        for before, (first, *others) in self._groups.items():
            leader = self._queries[first]
            changes = found[first] = _poll(leader, max_changes)
            after = leader.stand
            if (
                isinstance(before, int)
                or isinstance(changes, KalamError)
                or after is None
                or after[0] is not before[0]  # went over to another definition
                or leader.restarted
            ):
                for i in others:
                    found[i] = _poll(self._queries[i], max_changes)
                continue
            count, seq = len(changes), newest(changes) if changes else 0
            for i in others:
                followed = self._queries[i].follow(before, leader, count, seq)
                found[i] = changes if followed else _poll(self._queries[i], max_changes)
        return found


def _poll(query: LiveQuery, max_changes: int) -> Found:
    try:
        return query.poll(max_changes)
    except KalamError as error:
        return error
    except StatementError as error:
        return KalamError("SUBSCRIPTION_FAILED", error.message)
