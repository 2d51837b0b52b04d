"""Plans of queries over small tables, kept until what they read changes.

Over a few hundred rows, planning a query takes the query engine ten times as long as running it. A plan holds
the rows it was made for, so it is used again only for a session that would be given the very same snapshots:
what a user may not see, no plan shows. What is asked twice is optimised once; a query whose rows are others
each time pays nothing for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from kalam_jupyter.kalam.catalog import VIEW, TableDef
from kalam_jupyter.kalam.errors import StatementError

if TYPE_CHECKING:
    from datafusion import DataFrame, SessionContext

    from kalam_jupyter.engine.relation import Snapshot
    from kalam_jupyter.kalam.auth import Session
    from kalam_jupyter.kalam.database import Kalam
    from kalam_jupyter.kalam.scope import Scope

#: So many plans are kept, those that were used last, and so many bytes of rows in them.
KEPT_PLANS: Final = 64
KEPT_BYTES: Final = 32 << 20
#: Over more rows than these, planning no longer counts.
PLAN_BYTES: Final = 4 << 20


@dataclass(frozen=True)
class Plan:
    """A query that can be run.

    Attributes
    ----------
    frame : DataFrame
    context : SessionContext
        Where the frame was made.
    settled : bool
        Whether the frame is optimised, and is not optimised again each time it runs.
    work : int or None
        How many combinations of rows it can look at; None when nobody knows.
    read : tuple of (TableDef, Snapshot)
    views : tuple of (qualified name, catalogue value)
    lasting : bool
        Whether it answers the same while those are the same.
    size : int
        Bytes of its rows.
    """

    frame: DataFrame
    context: SessionContext
    settled: bool
    work: int | None
    read: tuple[tuple[TableDef, Snapshot], ...]
    views: tuple[tuple[str, Any], ...]
    lasting: bool
    size: int

    @classmethod
    def of(cls, scope: Scope, frame: DataFrame) -> Plan:
        """Return the plan of a frame over a scope."""
        read, views = tuple(scope.read), tuple(scope.views)
        return cls(frame, scope.context, False, scope.combinations(), read, views, scope.lasting, scope.size)

    def settle(self) -> Plan:
        """Return the plan with an optimised frame."""
        optimised = self.frame.optimized_logical_plan()
        self.context.sql("SET datafusion.optimizer.max_passes = 0")
        return replace(self, frame=self.context.create_dataframe_from_logical_plan(optimised), settled=True)


class Plans:
    """The plans that were used last.

    Their keys are whatever a plan depends on besides what it reads: text, user, role, namespace, limit.
    """

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._lock = threading.Lock()
        self._kept: OrderedDict[Any, Plan] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Any, session: Session) -> Plan | None:
        """Return a plan that reads what the session would be shown now."""
        plan = self._kept.get(key)
        if plan is None:
            return None
        with self._lock:
            if self._kept.get(key) is plan:
                self._kept.move_to_end(key)
        try:
            return plan if self._holds(plan, session) else None
        except StatementError:  # no longer readable: planning says why
            return None

    def _holds(self, plan: Plan, session: Session) -> bool:
        kalam = self._kalam
        for name, value in plan.views:
            if kalam.engine.catalogue.get(VIEW, name) is not value:
                return False
        for table, snapshot in plan.read:
            if kalam.find_table(table.namespace, table.name) is not table:
                return False
            kalam.check_read(session, table)
            if kalam.relation(table).snapshot(kalam.owner(session, table)) is not snapshot:
                return False
        return True

    def keep(self, key: Any, plan: Plan) -> None:
        """Keep a plan in place of the one before, if it can be kept; let the oldest go if it is too much."""
        if not plan.lasting or plan.size > PLAN_BYTES:
            return
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = plan
            self._size += plan.size - (before.size if before is not None else 0)
            while len(self._kept) > KEPT_PLANS or self._size > KEPT_BYTES:
                self._size -= self._kept.popitem(last=False)[1].size
