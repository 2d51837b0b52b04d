"""Polling many live queries at once.

Those that stand at the same place are polled once. Those whose condition asks for one value of a column
(``WHERE room = 7``) are not polled at all when no changed row has it: of a thousand such queries on a
table, a change costs what the few cost that it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kalam_jupyter.engine.relation import ChangeSet
from kalam_jupyter.kalam.errors import KalamError, StatementError
from kalam_jupyter.kalam.live_message import LiveChange
from kalam_jupyter.kalam.live_query import LiveQuery, Stand, newest

Found = Sequence[LiveChange] | KalamError
#: Up to so many unread changes are worked out in microseconds each.
FEW = 32


class News:
    """What changed, looked at once for all live queries that stand at the same place.

    Parameters
    ----------
    max_changes : int, optional
        Live queries that have more to look at are not judged: that may take long.
    """

    def __init__(self, max_changes: int | None = None) -> None:
        self._max = max_changes
        self._seen: dict[Any, _Values | None] = {}

    def concerns(self, query: LiveQuery) -> bool:
        """Whether a live query has to be polled; if nothing of what changed is for it, it is done."""
        if query.needs is None or (stand := query.stand) is None:
            return True
        shape, position = stand
        place = query.channel, position, id(shape.row_schema)
        if place in self._seen:
            values = self._seen[place]
        else:
            peeked = query.peek() if self._max is None or query.lag <= self._max else None
            values = self._seen[place] = None if peeked is None else _Values(*peeked)
        return values is None or values.has(*query.needs) or not query.follow(stand, values.end)


class _Values:
    """Changes up to a position, by what was and is in their rows."""

    def __init__(self, changes: Sequence[ChangeSet], end: int) -> None:
        self.end = end
        self._rows = [
            row for found in changes for c in found.changes() for row in (c.old, c.new) if row is not None
        ]
        self._columns: dict[int, frozenset[Any]] = {}

    def has(self, column: int, value: Any) -> bool:
        """Whether a row has, or had, a value in a column, as far as can be told."""
        try:
            found = self._columns.get(column)
            if found is None:
                found = self._columns[column] = frozenset([row[column] for row in self._rows])
            return value in found
        except (IndexError, TypeError):  # rows of another definition; values that have no hash
            return True


class Companions:
    """Live queries that will be polled together.

    Parameters
    ----------
    queries : sequence of LiveQuery

    Attributes
    ----------
    behind : bool
        Whether some of them may have more to look at than was polled.
    """

    def __init__(self, queries: Sequence[LiveQuery]) -> None:
        self._queries, self.behind = queries, False
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
        news = News()
        for before, group in self._groups.items():
            if self._queries[group[0]].needs is not None:  # as those of all in the group, whose shape is one
                group = [i for i in group if news.concerns(self._queries[i])]
            if not group:
                self.behind = True
                continue
            first, *others = group
            leader = self._queries[first]
            changes = found[first] = _poll(leader, max_changes)
            after = leader.stand
            self.behind = self.behind or leader.lag > 0
            if (
                isinstance(before, int)
                or isinstance(changes, KalamError)
                or after is None
                or after[0] is not before[0]  # went over to another definition
                or leader.restarted
            ):
                for i in others:
                    found[i] = _poll(self._queries[i], max_changes)
                self.behind = True
                continue
            count, seq = len(changes), newest(changes) if changes else 0
            for i in others:
                followed = self._queries[i].follow(before, after[1], count, seq, leader.last_update)
                found[i] = changes if followed else _poll(self._queries[i], max_changes)
                self.behind = self.behind or not followed
        return found


def _poll(query: LiveQuery, max_changes: int) -> Found:
    try:
        return query.poll(max_changes)
    except KalamError as error:
        return error
    except StatementError as error:
        return KalamError("SUBSCRIPTION_FAILED", error.message)
