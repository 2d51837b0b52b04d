"""The ksqlDB dialect on an engine: statements in, entities and queries out."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import pyarrow as pa

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.batch import Batch
from kalam_jupyter.ksql.bridge import KsqlSources
from kalam_jupyter.ksql.cluster import Cluster
from kalam_jupyter.ksql.config import Config, check_override, check_overrides, check_server
from kalam_jupyter.ksql.errors import KsqlError, StatementError, about_statement
from kalam_jupyter.ksql.formats import CODEC_NAME, KeyWindow, KsqlCodec, codec_from_descriptor
from kalam_jupyter.ksql.formats.schema_registry import (
    EmbeddedRegistry,
    RemoteRegistry,
    SchemaRegistry,
    subject_name,
)
from kalam_jupyter.ksql.functions.registry import FunctionRegistry
from kalam_jupyter.ksql.inserts import (
    InsertTarget,
    append_table,
    column_name,
    create_stream_text,
    folded,
    partitioned,
)
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.parser import ParsedStatement, parse_script
from kalam_jupyter.ksql.materializations import Materializations
from kalam_jupyter.ksql.metastore import Metastore, Source
from kalam_jupyter.ksql.persistent_queries import PersistentQueries, QueryState
from kalam_jupyter.ksql.plan.graph import TopologyData
from kalam_jupyter.ksql.properties import canonical
from kalam_jupyter.ksql.runtime.persistent import PersistentQuery, QueryError
from kalam_jupyter.ksql.runtime.processing_log import processing_log_source
from kalam_jupyter.ksql.runtime.transient import PullQuery, TransientQuery
from kalam_jupyter.ksql.statements import HANDLERS
from kalam_jupyter.ksql.statements.entities import Entity, terminating
from kalam_jupyter.ksql.statements.explain import topology_data
from kalam_jupyter.ksql.statements.insert import insertable
from kalam_jupyter.ksql.statements.prepared import PreparedPulls
from kalam_jupyter.ksql.statements.pull import PullPlan
from kalam_jupyter.ksql.statements.pull_limits import PullLimits
from kalam_jupyter.ksql.statements.run import Restored, Run, Session, State
from kalam_jupyter.ksql.statements.select import start_transient
from kalam_jupyter.ksql.statements.switches import check_switched_on
from kalam_jupyter.ksql.terminate import terminate, topic_patterns

ServerState = Literal["READY", "TERMINATING", "TERMINATED"]
#: What `Ksql.quick_pull` answers: up to so many keys, with so many records to catch up with.
QUICK_KEYS, QUICK_LAG = 100, 256
_NOT_HERE = (
    "The following statement types should be issued to the websocket endpoint '/query':\n\t* "
    "PRINT\n\t* SELECT"
)


#: How long the processing log keeps its records.
LOG_RETENTION_MS = 7 * 24 * 3600 * 1000


class Ksql:
    """ksqlDB's SQL over one engine.

    Parameters
    ----------
    engine : Engine
        Definitions that it holds are made again, and their queries go on where they were.
    config : mapping, optional
        Properties of the server, by their ksqlDB names.
    """

    def __init__(self, engine: Engine, config: Mapping[str, Any] = {}) -> None:
        self.engine = engine
        check_server(config)
        self.server_properties = {canonical(k): v for k, v in config.items()}
        self.load_config()
        self.functions = FunctionRegistry.builtin(users=self.config.flag("ksql.udfs.enabled"))
        self.pull_limits = PullLimits(self.config)
        url = self.config.get("ksql.schema.registry.url")
        self.schema_registry: SchemaRegistry = RemoteRegistry(url) if url else EmbeddedRegistry(engine)
        self.state = State()
        self.queries = PersistentQueries(self)
        self.cluster = Cluster(self)
        self.server_state: ServerState = "READY"
        self.next_sequence = 0
        #: Called, from the thread that executes, after each command.
        self.on_command: set[Callable[[], None]] = set()
        self._transient: dict[str, TransientQuery] = {}
        self._prepared = PreparedPulls()
        self.materializations = Materializations(self)
        self._codecs: dict[KsqlCodec, KsqlCodec] = {}
        self._ids = itertools.count(1)
        self.lock = threading.RLock()
        self._statuses: dict[str, Entity] = {}
        engine.codecs[CODEC_NAME] = functools.partial(codec_from_descriptor, registry=self.schema_registry)
        engine.sources["ksql"] = KsqlSources(self)
        engine.holds.append(self.materializations.held_from)
        self._restore()

    @property
    def metastore(self) -> Metastore:
        """The streams, tables and types that there are."""
        return self.state.metastore

    # Statements

    def execute(
        self, text: str, *, properties: Mapping[str, Any] = {}, variables: Mapping[str, Any] = {}
    ) -> list[Entity]:
        """Execute statements, as ``POST /ksql`` does.

        All of them are first validated against a copy of the state; a mistake anywhere means that nothing was
        done.

        Parameters
        ----------
        text : str
            One or more statements.
        properties : mapping
            Overrides for these statements.
        variables : mapping
            Initial values of ``${name}``.

        Returns
        -------
        list of dict
            One entity for each statement that has one.

        Raises
        ------
        KsqlError
        """
        statements = parse_script(text)
        with self.lock:
            validated = None
            while validated != self.next_sequence:  # others may run while a statement waits for Kafka Connect
                validated = self.next_sequence
                self._pass(statements, self.state.copy(), properties, variables, dry=True)
            return self._pass(statements, self.state, properties, variables, dry=False)

    def _pass(
        self,
        statements: Sequence[ParsedStatement],
        state: State,
        properties: Mapping[str, Any],
        variables: Mapping[str, Any],
        *,
        dry: bool,
    ) -> list[Entity]:
        session = self._session(properties, variables)
        run = Run(self, state, session, dry=dry)
        entities = []
        for parsed in statements:
            found = self._statement(run, run.prepared(parsed))
            if found is not None:
                entities.append(found)
                if not dry and found["@type"] == "currentStatus":
                    self._statuses[found["commandId"]] = found["commandStatus"]
        return entities

    def _statement(self, run: Run, parsed: ParsedStatement) -> Entity | None:
        try:
            tree = parsed.ast
            if isinstance(tree, ast.Query | ast.Print):
                raise StatementError(_NOT_HERE, error_code=40002)
            handler = HANDLERS.get(type(tree))
            if handler is None:
                raise StatementError(f"Statement type `{type(tree).__name__}` is not supported here.")
            check_switched_on(run, tree)
            return handler(run, tree, parsed.text)
        except KsqlError as error:
            raise about_statement(error, parsed.shown_text) from error.__cause__

    def _session(self, properties: Mapping[str, Any], variables: Mapping[str, Any]) -> Session:
        """Return the session of a request; RequestError if it overrides what it may not."""
        check_overrides(self.config, properties)
        return Session(
            {canonical(k): v for k, v in properties.items()}, {k: str(v) for k, v in variables.items()}
        )

    @contextmanager
    def others_run(self) -> Iterator[None]:
        """Give way to other threads' statements meanwhile; for the thread that executes some."""
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()

    def command_statuses(self) -> dict[str, Entity]:
        """Return the status of each command by its id, as ``GET /status`` lists them."""
        return dict(self._statuses)

    def topology_data(
        self, query: str, *, properties: Mapping[str, Any] = {}, variables: Mapping[str, Any] = {}
    ) -> TopologyData:
        """Return a query as a graph, with what went through it so far.

        Parameters
        ----------
        query : str
            The id of a persistent query or of a push query that runs, or a statement that would start one.
        properties, variables : mapping
            As in `execute`.

        Raises
        ------
        KsqlError
        """
        session = self._session(properties, variables)
        with self.lock:
            return topology_data(Run(self, self.state, session, dry=True), query)

    def check_property(self, name: str) -> None:
        """Refuse a property that nothing knows, or that clients may not override; RequestError."""
        check_override(self.config, name)

    def load_config(self) -> None:
        """Take the server's properties, and what ALTER SYSTEM made of them since."""
        self.config = Config(self.server_properties, dict(self.engine.catalogue.items("ksql.system")))

    def terminate_cluster(self, delete_topics: Sequence[str] = ()) -> Entity:
        """End all queries and forget all definitions, as ``POST /ksql/terminate`` does.

        The HTTP API is shut from then on (`server_state`), until the engine is opened again.

        Parameters
        ----------
        delete_topics : sequence of str
            Regular expressions: topics that CREATE .. AS SELECT made, and whose whole name one matches, go
            too.

        Raises
        ------
        KsqlError
            If one of them is no regular expression.
        """
        patterns = topic_patterns(delete_topics)
        with self.lock:
            self.server_state = "TERMINATING"
            try:
                terminate(self, patterns)
            except BaseException:
                self.server_state = "READY"
                raise
            self.server_state = "TERMINATED"
            sequence = self.next_sequence
            self.applied(sequence + 1)
        return terminating(sequence)

    def applied(self, next_sequence: int) -> None:
        """Take note that all commands before `next_sequence` have been applied; tell who waits for them."""
        self.next_sequence = next_sequence
        for callback in tuple(self.on_command):
            callback()

    # Rows from outside SQL

    def insert_target(self, target: str) -> InsertTarget:
        """Return where rows for a stream or table go; `target` folds to upper case unless it is quoted.

        Raises
        ------
        KsqlError
            If there is no such source, or it takes no rows.
        """
        try:
            name = folded(target)
        except ValueError:
            raise StatementError(f"Invalid target name: {target}") from None
        if not self.config.flag("ksql.insert.into.values.enabled"):
            raise KsqlError("The server has disabled INSERT INTO ... VALUES functionality.")
        run = Run(self, self.state, Session(), dry=False)
        try:
            source = insertable(run, name)
        except StatementError:
            raise
        except KsqlError as error:
            raise StatementError(error.message) from None
        return InsertTarget(self, source)

    def stream_frame(
        self, name: str, table: pa.Table, *, key: str | None = None, timestamp: str | None = None
    ) -> int:
        """Append the rows of an Arrow table to a stream, declaring it when it is not there.

        No Python rows are made on the way.

        Parameters
        ----------
        name : str
            The stream. Names of it and of columns fold to upper case, unless they need quoting.
        table : pyarrow.Table
        key : str, optional
            Column that becomes the key, when the stream is declared here.
        timestamp : str, optional
            Column (timestamp, date, or milliseconds) that gives the records' event time.

        Returns
        -------
        int
            Rows appended.
        """
        if key is not None and key not in table.column_names:
            raise StatementError(f"The frame has no column {key}.")
        if self.metastore.get(column_name(name)) is None:
            self.execute(create_stream_text(name, table, key))
        source = self.metastore.get(column_name(name))
        assert source is not None
        return append_table(self, source, table, timestamp, now_ms=self.engine.clock.now_ms())

    def append(self, source: Source, batch: Batch) -> None:
        """Append a batch to a source's topic, durably."""
        partitioned(batch, self.engine.topic(source.topic).partitions)
        self.engine.transact(lambda tx: tx.append(source.topic, batch))

    # Transient queries

    def query(
        self, text: str, *, properties: Mapping[str, Any] = {}, variables: Mapping[str, Any] = {}
    ) -> TransientQuery:
        """Start one SELECT or PRINT.

        Raises
        ------
        KsqlError
        """
        plan = self._prepared.find(text, properties, self.next_sequence)
        if plan is not None:
            return self.pull_limits.answer(self, functools.partial(self._answered, plan, text))
        statements = parse_script(text)
        if len(statements) != 1:
            raise StatementError(f"Expected exactly one KSQL statement; found {len(statements)} instead")
        session = self._session(properties, variables)
        with self.lock:
            run, version = Run(self, self.state, session, dry=False), self.next_sequence
        parsed = run.prepared(statements[0])
        try:
            query = start_transient(run, parsed.ast, parsed.text)
        except KsqlError as error:
            raise about_statement(error, parsed.shown_text) from error.__cause__
        if isinstance(query, PullQuery) and isinstance(parsed.ast, ast.Query):
            self._prepared.keep(text, properties, version, parsed.ast, query.plan)
        if not query.finished and query.kind != "pull":
            self._transient[query.id] = query
            query.on_close = self._closed
            if query.finished:
                self._transient.pop(query.id, None)
        return query

    def _answered(self, plan: PullPlan, text: str) -> PullQuery:
        self.materializations.settle(plan.source)
        return plan.run(self, text)

    def quick_pull(self, text: str, *, properties: Mapping[str, Any] = {}) -> PullQuery | None:
        """Answer a pull query by key, if that takes no waiting and next to no work.

        The query's like was asked before, nothing feeds its table right now, and no lock is waited for.
        None otherwise: `query` then answers it.
        """
        plan = self._prepared.find(text, properties, self.next_sequence)
        if self.pull_limits.active or plan is None or plan.keys is None or len(plan.keys) > QUICK_KEYS:
            return None
        found = self.materializations.find(plan.source)
        if found is None or found.lag > QUICK_LAG:
            return None
        if not self.engine.catch_up(self.materializations.upstream(plan.source), 0.0):
            return None
        return plan.run(self, text)

    def _closed(self, query: TransientQuery) -> None:
        self._transient.pop(query.id, None)

    def close_query(self, query_id: str) -> bool:
        """End a transient query; False if none has this id."""
        query = self.find_transient(query_id)
        if query is None:
            return False
        query.close()
        return True

    def find_transient(self, query_id: str) -> TransientQuery | None:
        """Return a running transient query, its id in any case."""
        wanted = query_id.upper()
        return next((q for i, q in list(self._transient.items()) if i.upper() == wanted), None)

    def transient_queries(self) -> list[TransientQuery]:
        """Return the push queries that are running."""
        return list(self._transient.values())

    def new_id(self) -> int:
        """Return a number for the id of a transient query."""
        return next(self._ids)

    # Persistent queries

    @property
    def running(self) -> dict[str, PersistentQuery]:
        """The persistent queries that the engine has, by id."""
        return self.queries.running

    def query_error(self, query_id: str) -> QueryError | None:
        """Return why a persistent query died, or waits; None unless it does."""
        return self.queries.error(query_id)

    def query_state(self, query_id: str) -> QueryState:
        """Return whether a persistent query runs, was paused, or does not run for another reason."""
        return self.queries.state(query_id)

    # Sources

    def codec(self, source: Source) -> KsqlCodec:
        """Return the codec of a source's topic: one and the same for sources that are stored in one way."""
        window = None
        if source.window is not None:
            kind = "session" if source.window.type == "SESSION" else "time"
            window = KeyWindow(kind, source.window.size_ms)  # type: ignore[arg-type]
        codec = KsqlCodec(
            source.stored_schema, source.key_format, source.value_format, window, self.schema_registry
        )
        return self._codecs.setdefault(codec, codec)

    def schema_deleted(self, source: Source) -> None:
        """Remove a dropped topic's schemas from the registry."""
        subjects = self.schema_registry.subjects()
        for is_key in (True, False):
            subject = subject_name(source.topic, is_key=is_key)
            if subject in subjects:
                self.schema_registry.delete_subject(subject)

    @property
    def processing_log_topic(self) -> str:
        """The topic of the processing log."""
        name = self.config.get("ksql.logging.processing.topic.name")
        return str(name or f"{self.config['ksql.service.id']}ksql_processing_log")

    def report(self, reports: Batch) -> None:
        """Add to the processing log what a transient query reports; nobody waits for it."""
        self.engine.submit(lambda tx: tx.append(self.processing_log_topic, reports))

    # Opening

    def _restore(self) -> None:
        """Make stored definitions again, in their order; then give the engine its processors back."""
        if self.engine.find_topic(self.processing_log_topic) is None:
            config = {"retention_ms": LOG_RETENTION_MS}
            self.engine.transact(lambda tx: tx.create_topic(self.processing_log_topic, config=config))
        log = processing_log_source(self.config, self.processing_log_topic)
        self.metastore.system[log.name] = log
        self.next_sequence = int(self.engine.catalogue.get("ksql.meta", "sequence") or 0)
        self.queries.restore_all()

    def restore_statement(self, state: State, key: str, value: Mapping[str, Any]) -> None:
        """Make a stored definition again."""
        session = Session(dict(value["properties"]))
        restored = Restored(value["queryId"], value.get("schemas") or {})
        run = Run(self, state, session, dry=False, restored=restored)
        run.sequence = int(key)
        for parsed in parse_script(value["text"]):
            self._statement(run, parsed)
