"""The persistent queries of one dialect instance: how they are built, start, wait and come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kalam_jupyter.engine.errors import EngineClosedError
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.ksql.config import Config
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.missing import placeholders
from kalam_jupyter.ksql.functions.python import on_defined
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.runtime.persistent import PersistentQuery, QueryError, SinkWriter
from kalam_jupyter.ksql.runtime.reader import SourceReader
from kalam_jupyter.ksql.runtime.reports import Reporter
from kalam_jupyter.ksql.runtime.timestamps import timestamp_parser
from kalam_jupyter.ksql.runtime.topology import Topology
from kalam_jupyter.ksql.statements.run import QueryInfo, State

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql

QueryState = Literal["RUNNING", "PAUSED", "ERROR"]


@dataclass(frozen=True)
class Waiting:
    """A stored query that cannot run yet.

    Attributes
    ----------
    key : str
        Of its statement in the catalogue.
    functions : frozenset of str
        The users' functions that it calls and that were not there.
    error : QueryError
    """

    key: str
    functions: frozenset[str]
    error: QueryError


class PersistentQueries:
    """What runs for ever in one dialect instance.

    Attributes
    ----------
    running : dict of str to PersistentQuery
    waiting : dict of str to Waiting
    """

    def __init__(self, ksql: Ksql) -> None:
        self._ksql = ksql
        self.running: dict[str, PersistentQuery] = {}
        self.waiting: dict[str, Waiting] = {}
        self._restored: dict[str, PersistentQuery] = {}
        self._missing: frozenset[str] = frozenset()
        self._key = ""

    # Building

    def topology(
        self, plan: QueryPlan, context: EvaluationContext, reporter: Reporter, config: Config
    ) -> Topology:
        """Return the operators of a plan."""
        fatal = config.flag("ksql.timestamp.throw.on.invalid")
        fatal_records = config.flag("ksql.fail.on.deserialization.error")

        def reader(step: steps.SourceStep, reporter: Reporter) -> SourceReader:
            source = step.source
            return SourceReader(
                source,
                self._ksql.codec(source),
                reporter,
                timestamp_parser(source),
                fatal_timestamps=fatal,
                fatal_records=fatal_records,
            )

        return Topology(plan.root, context, reporter, reader)

    def _build(
        self, info: QueryInfo, plan: QueryPlan, sink: Source, context: EvaluationContext, config: Config
    ) -> PersistentQuery:
        reporter = Reporter(info.id)
        topology = self.topology(plan, context, reporter, config)
        found = self._ksql.engine.find_topic(sink.topic)
        partitions = 1 if found is None else found.partitions
        writer = SinkWriter(sink, self._ksql.codec(sink), partitions, reporter, timestamp_parser(sink))
        log_topic = self._ksql.processing_log_topic
        return PersistentQuery(info.id, info.text, info.sources, topology, writer, log_topic, plan=plan)

    # Life

    def start(
        self,
        tx: Transaction,
        info: QueryInfo,
        plan: QueryPlan,
        sink: Source,
        context: EvaluationContext,
        config: Config,
        *,
        replaces: bool = False,
    ) -> None:
        """Start a query inside a transaction, or let it take the place of the one with its id.

        Raises
        ------
        KsqlError
            If it would replace one that waits: its state is not at hand.
        """
        if replaces and info.id in self.waiting:
            raise KsqlError(f"{info.id} cannot be replaced: {self.waiting[info.id].error.message}")
        query = self._build(info, plan, sink, context, config)
        old = self.running.get(info.id) if replaces else None
        if old is not None:
            positions = self._ksql.engine.processor_positions(info.id)
            query.topology.take_state(old.topology)
            query.initial_state = query.checkpoint()
            tx.put("ksql.state", info.id, query.initial_state.hex())
            tx.remove_processor(info.id)
            tx.add_processor(query, positions)
        else:
            tx.add_processor(query, self._starts(plan, config))
        tx.on_commit(lambda: self.running.__setitem__(info.id, query))

    @staticmethod
    def remove(tx: Transaction, query_id: str) -> None:
        """End a query for good inside a transaction."""
        tx.remove_processor(query_id)
        tx.remove("ksql.state", query_id)

    def _starts(self, plan: QueryPlan, config: Config) -> dict[str, int]:
        """Tables are read from their beginning, streams from where ``auto.offset.reset`` says."""
        earliest = str(config["ksql.streams.auto.offset.reset"]).lower() == "earliest"
        starts = {}
        for source in plan.sources:
            topic = self._ksql.engine.topic(source.topic)
            from_start = earliest or not source.is_stream
            starts[source.topic] = topic.start_sequence if from_start else topic.end_sequence
        return starts

    def forget(self, query_id: str) -> None:
        """Forget a query that was removed from the engine."""
        self.running.pop(query_id, None)
        self.waiting.pop(query_id, None)

    def clear(self) -> None:
        """Forget all."""
        self.running.clear()
        self.waiting.clear()

    def note_terminated(self, tx: Transaction, info: QueryInfo) -> None:
        """Remember that a query ended: its sink stays, an INSERT INTO is forgotten."""
        for key, value in self._ksql.engine.catalogue.items("ksql.statement"):
            if value["queryId"] == info.id:
                if info.creates:
                    tx.put("ksql.statement", key, {**value, "queryId": None, "terminated": True})
                else:
                    tx.remove("ksql.statement", key)

    def error(self, query_id: str) -> QueryError | None:
        """Return why a query died, or waits; None unless it does."""
        if query_id in self.waiting:
            return self.waiting[query_id].error
        query = self.running.get(query_id)
        return None if query is None else query.error

    def state(self, query_id: str) -> QueryState:
        """Return whether a query runs, was paused, or does not run for another reason."""
        if self.error(query_id) is not None:
            return "ERROR"
        engine = self._ksql.engine
        runner = engine.scheduler.runners.get(query_id)
        if runner is None:
            return "RUNNING" if engine.catalogue.get("ksql.paused", query_id) is None else "PAUSED"
        return "PAUSED" if runner.paused else "RUNNING"

    # Coming back

    def restore(
        self, info: QueryInfo, plan: QueryPlan, sink: Source, context: EvaluationContext, config: Config
    ) -> None:
        """Build a stored query again; `attach` hands it to the engine when all definitions were made."""
        if self._missing:
            names = ", ".join(sorted(self._missing))
            self._wait(
                info.id,
                f"The query waits for the user-defined function {names}, which is not defined in this "
                "process. It goes on by itself when it is: run the code that defines it (kalam_jupyter.udf).",
            )
            return
        query = self._build(info, plan, sink, context, config)
        state = self._ksql.engine.catalogue.get("ksql.state", info.id)
        if state is not None:
            query.initial_state = bytes.fromhex(state)
        self.waiting.pop(info.id, None)
        self._restored[info.id] = query

    def _wait(self, query_id: str, message: str) -> None:
        self._restored.pop(query_id, None)
        error = QueryError(self._ksql.engine.clock.now_ms(), message)
        self.waiting[query_id] = Waiting(self._key, self._missing, error)

    def restore_all(self) -> None:
        """Make stored definitions again, in their order; then give the engine its processors back."""
        ksql = self._ksql
        stored = sorted(ksql.engine.catalogue.items("ksql.statement"))
        library = placeholders((f for _, v in stored for f in v.get("functions", ())), ksql.functions)
        ksql.functions.add(library)
        try:
            for key, value in stored:
                self._key = key
                self._missing = _called(value) & library.functions.keys()
                ksql.restore_statement(ksql.state, key, value)
        finally:
            self._missing = frozenset()
            for name in library.functions:
                ksql.functions.remove(name)
        self._attach()
        if self.waiting:
            on_defined(self._defined)

    def _attach(self) -> None:
        for query in self._restored.values():
            self._ksql.engine.add_processor(query)
            self.running[query.id] = query
        self._restored = {}

    def _defined(self, name: str) -> bool:
        """Let queries go on that waited for a function; say whether any waits still."""
        with self._ksql.lock:
            try:
                for query_id, waiting in list(self.waiting.items()):
                    if name in waiting.functions:
                        self._try_again(query_id, waiting)
            except EngineClosedError:
                return False
            return bool(self.waiting)

    def _try_again(self, query_id: str, waiting: Waiting) -> None:
        """Plan a query again with the functions that there are now; it goes on if it is still the same."""
        ksql = self._ksql
        if any(ksql.functions.find(name) is None for name in waiting.functions):
            return
        info = ksql.state.queries[query_id]
        state = ksql.state.copy()
        del state.queries[query_id]
        if info.creates:
            del state.metastore.sources[info.sink]
        self._key = waiting.key
        value: Any = ksql.engine.catalogue.get("ksql.statement", waiting.key)
        try:
            ksql.restore_statement(state, waiting.key, value)
            _check_same(ksql.state, state, info)
        except KsqlError as error:
            self._missing = waiting.functions
            self._wait(query_id, f"The query cannot go on as its functions are now: {error.message}")
            return
        finally:
            self._missing = frozenset()
        ksql.state.queries[query_id] = state.queries[query_id]
        self._attach()


def _called(value: Mapping[str, Any]) -> frozenset[str]:
    functions: Iterable[Mapping[str, Any]] = value.get("functions", ())
    return frozenset(f["name"].upper() for f in functions)


def _check_same(before: State, after: State, info: QueryInfo) -> None:
    """Refuse functions that change what a query's sink holds."""
    old, new = before.metastore.sources[info.sink].schema, after.metastore.sources[info.sink].schema
    if old != new:
        raise KsqlError(f"`{info.sink}` has the columns {old}, and would now have {new}.")
