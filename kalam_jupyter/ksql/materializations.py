"""The current rows of all tables that somebody asked for, and the queries that have to catch up before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.runtime.materialization import Materialization

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql

#: Seconds that a pull query waits for the queries that feed its source.
SETTLE_SECONDS = 60.0


class Materializations:
    """One materialization for each table that was asked for.

    Parameters
    ----------
    ksql : Ksql
    """

    def __init__(self, ksql: Ksql) -> None:
        self._ksql = ksql
        self._found: dict[str, tuple[Source, Materialization]] = {}

    def find(self, source: Source) -> Materialization | None:
        """Return the rows of a table, if they were asked for before."""
        found = self._found.get(source.name)
        if (
            found is None
            or found[0] is not source
            or found[1].topic is not self._ksql.engine.topic(source.topic)
        ):
            return None
        return found[1]

    def of(self, source: Source) -> Materialization:
        """Return the current rows of a table, up to date with what its query has emitted."""
        found = self.find(source)
        if found is not None:
            return found
        ksql = self._ksql
        with ksql.lock:
            found = self.find(source)
            if found is None:
                topic, retention = ksql.engine.topic(source.topic), self._retention(source)
                found = Materialization(source, ksql.codec(source), topic, retention)
                self._found[source.name] = (source, found)
                self.hold_or_follow(source)
        return found

    def hold_or_follow(self, source: Source) -> None:
        """Let the rows of a SOURCE TABLE stand still while its query is paused."""
        found = self._found.get(source.name)
        if found is not None:
            found[1].until = self._ksql.engine.catalogue.get("ksql.paused", source.query_id or "")

    def held_from(self, topic: str) -> int | None:
        """Return where the rows of a paused SOURCE TABLE on a topic stand still: see `Engine.holds`."""
        paused = self._ksql.engine.catalogue.items("ksql.paused")
        queries = ((self._ksql.state.queries.get(query_id), sequence) for query_id, sequence in paused)
        held = [at for info, at in queries if info is not None and info.plan.sources[0].topic == topic]
        return min(held, default=None)

    def _retention(self, source: Source) -> int | None:
        query = self._ksql.running.get(source.query_id or "")
        if query is None or query.plan.aggregation is None:
            return None
        return query.plan.aggregation.retention_ms

    def settle(self, source: Source, timeout: float = SETTLE_SECONDS) -> None:
        """Wait until the chain of queries that feeds a source has consumed what was there.

        Raises
        ------
        StatementError
            If it takes longer than `timeout` seconds: an answer without the rest would be wrong.
        """
        order = self.upstream(source)
        if order and not self._ksql.engine.catch_up(order, timeout):
            raise StatementError(
                f"`{source.name}` is still being computed: its queries did not catch up within "
                f"{timeout:.0f} s. Ask again later."
            )

    def upstream(self, source: Source) -> list[str]:
        """Return the queries that feed a source, upstream first."""
        order: list[str] = []

        def visit(name: str, above: tuple[str, ...]) -> None:
            for info in self._ksql.state.writers(name):
                if info.id in above or info.id in order:
                    continue
                for upstream in info.sources:
                    visit(upstream, (*above, info.id))
                order.append(info.id)

        visit(source.name, ())
        return order
