"""Polling many live queries at once: those that stand at the same place are polled once."""

from __future__ import annotations

from collections.abc import Sequence

from kalam_jupyter.kalam.errors import KalamError, StatementError
from kalam_jupyter.kalam.live_change import LiveChange
from kalam_jupyter.kalam.live_query import LiveQuery, Stand

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
            for i in others:
                query = self._queries[i]
                followed = (
                    not (isinstance(before, int) or after is None or isinstance(changes, KalamError))
                    and _moved_on(before, after)
                    and query.follow(before, after, changes)
                )
                found[i] = changes if followed else _poll(query, max_changes)
        return found


def _moved_on(before: Stand, after: Stand) -> bool:
    """Whether a query just read on: it did not go over to another definition, nor fall behind and start
    again from a new snapshot."""
    return after[0] is before[0] and after[1] in (0, before[1])


def _poll(query: LiveQuery, max_changes: int) -> Found:
    try:
        return query.poll(max_changes)
    except KalamError as error:
        return error
    except StatementError as error:
        return KalamError("SUBSCRIPTION_FAILED", error.message)
