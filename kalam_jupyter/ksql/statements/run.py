"""What statements run in: the state that they see, the session that they share, and whether it is for real.

A request runs twice: first dry, against a copy of the state, so that a mistake anywhere means that nothing
was done; then for real.
Handlers are the same both times; only `Run.change` knows the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.ksql.config import Config
from kalam_jupyter.ksql.formats.schema_registry import DryRegistry, SchemaRegistry
from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.lang.parser import ParsedStatement
from kalam_jupyter.ksql.lang.variables import prepare
from kalam_jupyter.ksql.metastore import Metastore, Source
from kalam_jupyter.ksql.plan.planner import QueryPlanner
from kalam_jupyter.ksql.plan.query_plan import QueryPlan
from kalam_jupyter.ksql.properties import canonical

if TYPE_CHECKING:
    from kalam_jupyter.ksql.dialect import Ksql


@dataclass(frozen=True)
class QueryInfo:
    """What is known of a persistent query by its statement.

    Attributes
    ----------
    id : str
    text : str
    sources : tuple of str
        The streams and tables that it reads.
    sink : str
        The stream or table that it writes.
    creates : bool
        Whether its statement made the sink (CREATE .. AS, CREATE SOURCE TABLE), as against INSERT INTO.
    plan : QueryPlan
    maintains : bool
        Whether it is a SOURCE TABLE's: it keeps the table's rows for pull queries and writes no topic, so no
        processor runs; its rows are a `Materialization`.
    """

    id: str
    text: str
    sources: tuple[str, ...]
    sink: str
    creates: bool
    plan: QueryPlan = field(compare=False, repr=False)
    maintains: bool = False


@dataclass
class State:
    """Everything that statements define."""

    metastore: Metastore = field(default_factory=Metastore)
    queries: dict[str, QueryInfo] = field(default_factory=dict)
    #: Topics that a dry run would have made, with their partitions.
    topics: dict[str, int] = field(default_factory=dict)
    #: Schemas that a dry run would have registered.
    schemas: DryRegistry | None = None

    def copy(self) -> State:
        """Return an independent copy."""
        return State(self.metastore.copy(), dict(self.queries), dict(self.topics))

    def find_query(self, query_id: str) -> QueryInfo | None:
        """Return a persistent query; ids are the same in any case."""
        found = self.queries.get(query_id)
        return found or next((q for i, q in self.queries.items() if i.upper() == query_id.upper()), None)

    def readers(self, name: str) -> list[QueryInfo]:
        """Return the queries that read a source, other than to keep its own rows."""
        return [q for q in self.queries.values() if name in q.sources and not q.maintains]

    def writers(self, name: str) -> list[QueryInfo]:
        """Return the queries that write a source."""
        return [q for q in self.queries.values() if q.sink == name and not q.maintains]

    def maintainer(self, name: str) -> list[QueryInfo]:
        """Return the query that keeps a SOURCE TABLE's rows, if it is one."""
        return [q for q in self.queries.values() if q.sink == name and q.maintains]


@dataclass
class Session:
    """Settings and variables that one request's statements share."""

    properties: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """A stored definition that is made again as the engine is opened.

    Attributes
    ----------
    query_id : str or None
        Of the query that it started; None if that was terminated since.
    taken : mapping
        What the definition took from the schema registry; see `statements.schemas`.
    """

    query_id: str | None
    taken: Mapping[str, Any] = field(default_factory=dict)


class Run:
    """One pass over a request's statements, or (`restored`) one stored definition."""

    def __init__(
        self, ksql: Ksql, state: State, session: Session, *, dry: bool, restored: Restored | None = None
    ) -> None:
        self.ksql = ksql
        self.restored = restored
        self.state = state
        self.session = session
        self.dry = dry
        self.sequence = ksql.next_sequence

    @property
    def metastore(self) -> Metastore:
        """Sources and types as of this statement."""
        return self.state.metastore

    @property
    def config(self) -> Config:
        """Properties in force."""
        return self.ksql.config.with_layer(self.session.properties)

    def planner(self, context: EvaluationContext | None = None) -> QueryPlanner:
        """Return a planner over the sources of this run."""
        return QueryPlanner(
            self.metastore,
            self.ksql.functions,
            context or EvaluationContext(),
            self.partitions,
            self.config,
        )

    def partitions(self, topic: str) -> int:
        """Return a topic's number of partitions; 1 for one that does not exist."""
        found = self.ksql.engine.find_topic(topic)
        return self.state.topics.get(topic, 1) if found is None else found.partitions

    def retention(self, topic: str) -> int:
        """Return how long a topic keeps its records, in ms; negative for ever."""
        found = self.ksql.engine.find_topic(topic)
        return -1 if found is None else int(found.config.get("retention_ms", -1))

    @property
    def schema_registry(self) -> SchemaRegistry:
        """The schema registry; in a dry run one that forgets what is registered."""
        if not self.dry:
            return self.ksql.schema_registry
        if self.state.schemas is None:
            self.state.schemas = DryRegistry(self.ksql.schema_registry)
        return self.state.schemas

    def topic_exists(self, topic: str) -> bool:
        """Whether the topic exists, or would by now."""
        return topic in self.state.topics or self.ksql.engine.find_topic(topic) is not None

    def next_sequence(self) -> int:
        """Return the command sequence number of the statement under way."""
        self.sequence += 1
        return self.sequence - 1

    def change(self, function: Callable[[Transaction], None]) -> None:
        """Make a change, and keep the new sequence number; nothing in a dry or restoring run."""
        if self.dry or self.restored is not None:
            return

        def transaction(tx: Transaction) -> None:
            function(tx)
            tx.put("ksql.meta", "sequence", self.sequence)

        self.ksql.engine.transact(transaction)
        self.ksql.applied(self.sequence)

    def no_change(self) -> int:
        """Return the sequence number of a command that has nothing to do: it counts all the same."""
        sequence = self.next_sequence()
        self.change(lambda tx: None)
        return sequence

    def prepared(self, parsed: ParsedStatement) -> ParsedStatement:
        """Return a statement with the session's variables put in, unless that is switched off."""
        if not self.config.flag("ksql.variable.substitution.enable"):
            return parsed
        return prepare(parsed, self.session.variables)

    @contextmanager
    def others_run(self) -> Iterator[None]:
        """Let other statements run meanwhile: this one waits for something outside."""
        with self.ksql.others_run():
            yield
        if not self.dry:
            self.sequence = self.ksql.next_sequence

    def override(self, name: str, value: Any) -> None:
        """SET: override a property for the rest of the session."""
        self.session.properties[canonical(name)] = value

    def source(self, name: str) -> Source | None:
        """Return a source by its name."""
        return self.metastore.get(name)
