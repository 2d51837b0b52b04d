"""Statements other than SELECT: one small method for each, found by their first word."""

from __future__ import annotations

from collections.abc import Callable

from kalam_jupyter.engine.types import BOOLEAN, STRING, DataType
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.ast import Duration, Expression, Literal, Location, Properties, Statement
from kalam_jupyter.ksql.lang.cursor import Cursor, Role, suggestion
from kalam_jupyter.ksql.lang.properties import InvalidPropertyError, check_properties
from kalam_jupyter.ksql.lang.queries import QueryParser
from kalam_jupyter.ksql.lang.tokens import Token

_EXTENDABLE = ("STREAMS", "TABLES", "QUERIES", "TOPICS")
_LISTABLE = ("STREAMS", "TABLES", "TOPICS", "FUNCTIONS", "QUERIES", "PROPERTIES", "TYPES", "VARIABLES")


class StatementParser(QueryParser):
    """Parses statements.

    Parameters
    ----------
    tokens : list of Token
    cli : bool
        Also RUN SCRIPT and SPOOL, which a command line client handles itself.
    testing : bool
        Also ASSERT VALUES, NULL VALUES, STREAM and TABLE, which test scripts use.
    """

    def __init__(
        self, tokens: list[Token], *, cli: bool = False, testing: bool = False, probing: bool = False
    ) -> None:
        super().__init__(tokens, probing=probing)
        self.cli = cli
        self.testing = testing

    def probe(self, tokens: list[Token]) -> Cursor:
        """A parser of the same kind that only finds out how far it gets."""
        return StatementParser(tokens, cli=self.cli, testing=self.testing, probing=True)

    def statement(self) -> Statement:
        """Parse one statement, without its semicolon."""
        token = self.token
        starts = self._starts | (self._cli_starts if self.cli else {})
        if token.kind == "cursor":
            self.expected_words.update(starts)
        parse = starts.get(token.key)
        if parse is None:
            if token.kind == "end":
                self.no_viable()
            close = suggestion(token.text, starts)
            hint = f"\nDid you mean '{close}'?" if close else ""
            self.fail(f"Unknown statement '{token.text}'{hint}", starts)
        self.enter(2)
        result = parse(self)
        self.leave(2)
        return result

    # CREATE

    def _create(self) -> Statement:
        start = self.expect("CREATE").location
        if self.accept("TYPE"):
            return self._create_type(start)
        or_replace = self.accept("OR", "REPLACE")
        scope = None if or_replace else self.accept_any("SINK")
        scope = scope or self.accept_any("SOURCE")
        if scope and not or_replace and self.accept("CONNECTOR"):
            return self._create_connector("SINK" if scope == "SINK" else "SOURCE", start)
        if scope == "SINK":
            self.mismatch("CONNECTOR")
        if not self.at("STREAM", "TABLE"):
            self.mismatch("STREAM", "TABLE", "TYPE", "SOURCE", "SINK", "OR")
        return self._create_source(start, or_replace=or_replace, read_only=scope == "SOURCE")

    def _create_source(
        self, start: Location, *, or_replace: bool = False, read_only: bool = False, asserted: bool = False
    ) -> Statement:
        kind = self._kind()
        if_not_exists = self.accept("IF", "NOT", "EXISTS")
        at = self.token.location
        name = self.source_name("name")
        elements = self.list_of(self._element, ")") if self.accept("(") else ()
        properties = self._with()
        if not (elements or read_only or asserted) and self.accept("AS"):
            self._check(properties, "create as")
            return ast.CreateSourceAs(
                kind,
                name,
                self.query(),
                properties,
                or_replace,
                if_not_exists,
                location=start,
                name_location=at,
            )
        self._check(properties, "create")
        return ast.CreateSource(
            kind,
            name,
            elements,
            properties,
            or_replace,
            if_not_exists,
            read_only,
            location=start,
            name_location=at,
        )

    def _kind(self) -> ast.SourceKind:
        return "STREAM" if self.expect_any("STREAM", "TABLE") == "STREAM" else "TABLE"

    def elements(self) -> tuple[ast.TableElement, ...]:
        """Parse columns without the parentheses around them."""
        return self.items(self._element)

    def _element(self) -> ast.TableElement:
        start = self.token.location
        name, type_ = self.name("name"), self.type()
        if self.accept("PRIMARY", "KEY"):
            return ast.TableElement(name, type_, "PRIMARY KEY", location=start)
        if self.accept("KEY"):
            return ast.TableElement(name, type_, "KEY", location=start)
        if self.accept("HEADERS"):
            return ast.TableElement(name, type_, "HEADERS", location=start)
        if self.accept("HEADER"):
            self.expect("(")
            header = self.string()
            self.expect(")")
            return ast.TableElement(name, type_, "HEADER", header, location=start)
        return ast.TableElement(name, type_, location=start)

    def _create_type(self, start: Location) -> Statement:
        if_not_exists = self.accept("IF", "NOT", "EXISTS")
        at = self.token.location
        name = self.name("name")
        self.expect("AS")
        return ast.CreateType(name, self.type(), if_not_exists, location=start, name_location=at)

    def _create_connector(self, kind: str, start: Location) -> Statement:
        if_not_exists = self.accept("IF", "NOT", "EXISTS")
        at = self.token.location
        name = self.name("name", as_written=True)
        properties = self._with(required=True, as_written=True)
        return ast.CreateConnector(
            "SINK" if kind == "SINK" else "SOURCE",
            name,
            properties,
            if_not_exists,
            location=start,
            name_location=at,
        )

    # WITH

    def _with(self, *, required: bool = False, as_written: bool = False) -> Properties:
        if required:
            self.expect("WITH")
        elif not self.accept("WITH"):
            return ast.NO_PROPERTIES
        self.expect("(")
        items = self.list_of(lambda: self._property(as_written), ")")
        names = [name for name, _ in items]
        for name in names:
            if names.count(name) > 1:
                self.defer(f"Property '{name}' is given more than once in the WITH clause")
        return Properties(items)

    def _property(self, as_written: bool) -> tuple[str, Literal | ast.Variable]:
        if self.at("<string>"):
            name = self.advance().value
        else:
            name = self.name("property", as_written=as_written)
        self.expect("=")
        return (name if as_written else name.upper()), self.literal()

    def literal(self) -> Literal | ast.Variable:
        """Parse a literal: a signed number, a string, a boolean, NULL, or a variable."""
        token = self.token
        if token.kind == "string":
            return Literal(self.advance().value, STRING, location=token.location)
        if token.kind == "variable":
            self.advance()
            self.use_variable(token, as_name=False)
            return ast.Variable(token.value, location=token.location)
        word = self.accept_any("NULL", "TRUE", "FALSE")
        if word == "NULL":
            return Literal(None, None, location=token.location)
        if word:
            return Literal(word == "TRUE", BOOLEAN, location=token.location)
        return self.number()

    def _check(self, properties: Properties, use: str) -> None:
        try:
            check_properties(properties, use)
        except InvalidPropertyError as error:
            at = next((value.location for name, value in properties.items if name == error.name), None)
            self.defer(error.message, at)

    # INSERT, DROP, ALTER

    def _insert(self) -> Statement:
        start = self.expect("INSERT").location
        self.expect("INTO")
        at = self.token.location
        target = self.source_name()
        if self.at("SELECT", "WITH"):
            properties = self._with()
            self._check(properties, "insert into")
            return ast.InsertInto(target, self.query(), properties, location=start, name_location=at)
        columns = self.list_of(lambda: self.name("column"), ")") if self.accept("(") else ()
        self.expect("VALUES")
        values = self._values()
        self._check_counts(columns, values)
        return ast.InsertValues(target, columns, values, location=start, name_location=at)

    def _values(self) -> tuple[Expression, ...]:
        self.expect("(")
        return () if self.accept(")") else self.list_of(self.expression, ")")

    def _check_counts(self, columns: tuple[str, ...], values: tuple[Expression, ...]) -> None:
        if columns and len(columns) != len(values):
            self.defer(f"Expected number columns and values to match: {len(columns)}, {len(values)}")

    def _drop(self) -> Statement:
        start = self.expect("DROP").location
        what = self.expect_any("STREAM", "TABLE", "CONNECTOR", "TYPE")
        if_exists = self.accept("IF", "EXISTS")
        at = self.token.location
        if what == "CONNECTOR":
            name = self.name("connector", as_written=True)
            return ast.DropConnector(name, if_exists, location=start, name_location=at)
        if what == "TYPE":
            return ast.DropType(self.name("type"), if_exists, location=start, name_location=at)
        kind: ast.SourceKind = "STREAM" if what == "STREAM" else "TABLE"
        name = self.source_name()
        delete_topic = self.accept("DELETE")
        if delete_topic:
            self.expect("TOPIC")
        return ast.DropSource(kind, name, if_exists, delete_topic, location=start, name_location=at)

    def _alter(self) -> Statement:
        start = self.expect("ALTER").location
        if self.accept("SYSTEM"):
            name, value = self._assignment()
            return ast.AlterSystem(name, value, location=start)
        if not self.at("STREAM", "TABLE"):
            self.mismatch("STREAM", "TABLE", "SYSTEM")
        kind = self._kind()
        at = self.token.location
        name = self.source_name()
        columns = self.items(self._added_column)
        return ast.AlterSource(kind, name, columns, location=start, name_location=at)

    def _added_column(self) -> tuple[str, DataType]:
        self.expect("ADD")
        if self.at("COLUMN") and self.peek(2).key not in (",", ";", "<EOF>", "ARRAY", "(", "<"):
            self.advance()
        return self.name("name"), self.type()

    # Queries by id

    def _query_id(self) -> str | None:
        return None if self.accept("ALL") else self.name("query", as_written=True)

    def _terminate(self) -> Statement:
        start, at = self.advance().location, self.token.location
        return ast.Terminate(self._query_id(), location=start, name_location=at)

    def _pause(self) -> Statement:
        start, at = self.advance().location, self.token.location
        return ast.Pause(self._query_id(), location=start, name_location=at)

    def _resume(self) -> Statement:
        start, at = self.advance().location, self.token.location
        return ast.Resume(self._query_id(), location=start, name_location=at)

    def _explain(self) -> Statement:
        start, at = self.expect("EXPLAIN").location, self.token.location
        if self.at_name("query") and self.peek().key in (";", "<EOF>"):
            query_id = self.name("query", as_written=True)
            return ast.Explain(query_id, location=start, name_location=at)
        return ast.Explain(None, self.statement(), location=start, name_location=at)

    # Properties and variables

    def _assignment(self) -> tuple[str, str]:
        name = self.string()
        self.expect("=")
        return name, self.string()

    def _set(self) -> Statement:
        start = self.advance().location
        return ast.SetProperty(*self._assignment(), location=start)

    def _unset(self) -> Statement:
        start = self.advance().location
        return ast.UnsetProperty(self.string(), location=start)

    def _define(self) -> Statement:
        start = self.advance().location
        name = self.name("variable", as_written=True)
        self.expect("=")
        return ast.Define(name, self.string(), location=start)

    def _undefine(self) -> Statement:
        start = self.advance().location
        return ast.Undefine(self.name("variable", as_written=True), location=start)

    # SHOW, DESCRIBE, PRINT

    def _show(self) -> Statement:
        start = self.advance().location
        if self.accept("ALL"):
            self.expect("TOPICS")
            return ast.Show("TOPICS", self.accept("EXTENDED"), all=True, location=start)
        if self.accept("CONNECTOR"):
            self.expect("PLUGINS")
            return ast.Show("CONNECTOR PLUGINS", location=start)
        if self.at("SOURCE", "SINK", "CONNECTORS"):
            word = self.accept_any("SOURCE", "SINK")
            self.expect("CONNECTORS")
            connector_kind = {"SOURCE": "SOURCE", "SINK": "SINK"}.get(word or "")
            return ast.Show("CONNECTORS", connector_kind=connector_kind, location=start)  # type: ignore[arg-type]
        if not self.at(*_LISTABLE):
            self.mismatch(*_LISTABLE, "CONNECTORS", "CONNECTOR", "SOURCE", "SINK", "ALL")
        what = self.advance().key
        extended = what in _EXTENDABLE and self.accept("EXTENDED")
        return ast.Show(what, extended, location=start)  # type: ignore[arg-type]

    def _describe(self) -> Statement:
        start = self.advance().location
        at = self.peek().location
        if self.at_words("FUNCTION") and self.peek().key not in (";", "<EOF>", "EXTENDED"):
            self.advance()
            return ast.DescribeFunction(self.name("function"), location=start, name_location=at)
        if self.accept("CONNECTOR"):
            name = self.name("connector", as_written=True)
            return ast.DescribeConnector(name, location=start, name_location=at)
        if self.accept("STREAMS"):
            return ast.DescribeAll("STREAMS", self.accept("EXTENDED"), location=start)
        if self.accept("TABLES"):
            return ast.DescribeAll("TABLES", self.accept("EXTENDED"), location=start)
        at = self.token.location
        name = self.source_name()
        return ast.Describe(name, self.accept("EXTENDED"), location=start, name_location=at)

    def _print(self) -> Statement:
        start, at = self.advance().location, self.token.location
        topic = self._name_or_string("topic")
        from_beginning = self.accept("FROM")
        if from_beginning:
            self.expect("BEGINNING")
        interval = self.integer("INTERVAL") if self.accept("INTERVAL") or self.accept("SAMPLE") else None
        if interval is not None and interval < 1:
            self.defer(f"INTERVAL must be at least 1, got {interval}")
        limit = self.integer("LIMIT") if self.accept("LIMIT") else None
        if limit is not None and limit < 0:
            self.defer(f"LIMIT cannot be negative, got {limit}")
        return ast.Print(topic, from_beginning, interval, limit, location=start, name_location=at)

    def _name_or_string(self, role: Role) -> str:
        if self.at("<string>"):
            return self.string()
        return self.name(role, as_written=True)

    # ASSERT

    def _assert(self) -> Statement:
        start = self.expect("ASSERT").location
        exists = True
        if self.testing and self.at("VALUES", "NULL", "STREAM", "TABLE"):
            return self._test_assert(start)
        if self.accept("NOT"):
            self.expect("EXISTS")
            exists = False
        if not self.at("TOPIC", "SCHEMA"):
            self.mismatch("TOPIC", "SCHEMA", *(["NOT"] if exists else []))
        if self.advance().key == "TOPIC":
            return self._assert_topic(start, exists)
        return self._assert_schema(start, exists)

    def _assert_topic(self, start: Location, exists: bool) -> Statement:
        at = self.token.location
        topic = self._name_or_string("topic")
        properties = self._with()
        if {"PARTITIONS", "REPLICAS"}.issuperset(properties.names):  # others are a failed assertion
            self._check(properties, "assert topic")
        return ast.AssertTopic(topic, properties, self._timeout(), exists, location=start, name_location=at)

    def _assert_schema(self, start: Location, exists: bool) -> Statement:
        subject = self._name_or_string("name") if self.accept("SUBJECT") else None
        schema_id = self.integer("ID") if self.accept("ID") else None
        timeout = self._timeout()
        if subject is None and schema_id is None:
            self.defer("ASSERT SCHEMA needs a SUBJECT, an ID, or both")
        return ast.AssertSchema(subject, schema_id, timeout, exists, location=start)

    def _timeout(self) -> Duration | None:
        return self.duration("TIMEOUT") if self.accept("TIMEOUT") else None

    def _test_assert(self, start: Location) -> Statement:
        if self.at("STREAM", "TABLE"):
            source = self._create_source(self.token.location, asserted=True)
            assert isinstance(source, ast.CreateSource)
            return ast.AssertSource(source, location=start, name_location=source.name_location)
        null = self.accept("NULL")
        self.expect("VALUES")
        at = self.token.location
        name = self.source_name()
        columns = self.list_of(lambda: self.name("column"), ")") if self.accept("(") else ()
        self.expect("KEY" if null else "VALUES")
        values = self._values()
        self._check_counts(columns, values)
        kind = ast.AssertNullValues if null else ast.AssertValues
        return kind(name, columns, values, location=start, name_location=at)

    # Command line

    def _run(self) -> Statement:
        start = self.advance().location
        self.expect("SCRIPT")
        return ast.RunScript(self.string(), location=start)

    def _spool(self) -> Statement:
        start = self.advance().location
        return ast.Spool(None if self.accept("OFF") else self.string(), location=start)

    _starts: dict[str, Callable[[StatementParser], Statement]] = {
        "SELECT": QueryParser.query,
        "CREATE": _create,
        "INSERT": _insert,
        "DROP": _drop,
        "ALTER": _alter,
        "TERMINATE": _terminate,
        "PAUSE": _pause,
        "RESUME": _resume,
        "EXPLAIN": _explain,
        "SET": _set,
        "UNSET": _unset,
        "DEFINE": _define,
        "UNDEFINE": _undefine,
        "SHOW": _show,
        "LIST": _show,
        "DESCRIBE": _describe,
        "PRINT": _print,
        "ASSERT": _assert,
    }
    _cli_starts: dict[str, Callable[[StatementParser], Statement]] = {"RUN": _run, "SPOOL": _spool}
