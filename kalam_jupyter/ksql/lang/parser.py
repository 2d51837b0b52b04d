"""Scripts, statements and expressions from text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kalam_jupyter.engine.types import DataType
from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.lang.ast import Expression, Location, Statement
from kalam_jupyter.ksql.lang.masking import masked, masked_broken
from kalam_jupyter.ksql.lang.statements import StatementParser
from kalam_jupyter.ksql.lang.tokens import Token, readable, tokenize

T = TypeVar("T")

MAX_DEPTH = 120
"""How deep a tree may be. ``a + b + c ..`` is as deep as it has terms; AND, OR and IN are not."""


@dataclass(frozen=True)
class ParsedStatement:
    """One statement of a script, whose syntax is right.

    Attributes
    ----------
    text : str
        As submitted, from its first word to its semicolon.
    location : Location
        Of the first word in the script.
    error : ParseError or None
        What is wrong with it all the same. Raised by `ast`, so that the statements before it still run.
    """

    text: str
    location: Location
    tree: Statement
    error: ParseError | None = None

    @property
    def shown_text(self) -> str:
        """The text as answers and logs show it: without data of INSERT and secrets of connectors."""
        return masked(self.text, self.tree)

    @property
    def ast(self) -> Statement:
        """The tree; raises what is wrong with the statement."""
        if self.error is not None:
            raise self.error
        return self.tree


def parse_script(
    text: str, *, cli: bool = False, testing: bool = False, terminated: bool = True
) -> list[ParsedStatement]:
    """Parse any number of statements.

    Parameters
    ----------
    text : str
    cli, testing : bool
        Accept the statements of command line clients (RUN SCRIPT, SPOOL), those of test scripts (ASSERT
        VALUES and others).
    terminated : bool
        Whether the last statement must end with a semicolon, as ksqlDB wants it.

    Raises
    ------
    ParseError
        At the first syntax error. Positions are those in `text`.
    """
    try:
        tokens = tokenize(text)
    except ParseError as error:
        error.statement_text = masked_broken(_unreadable_statement(text))
        raise
    parser = StatementParser(tokens, cli=cli, testing=testing)
    statements: list[ParsedStatement] = []
    while True:
        while parser.token.key == ";":
            parser.advance()
        if parser.token.kind == "end":
            return statements
        statements.append(_parse_next(parser, text, terminated))


def _parse_next(parser: StatementParser, text: str, terminated: bool) -> ParsedStatement:
    first = parser.token
    parser.deferred = None
    try:
        parser.begin(_terminated_statement)
        tree = parser.statement()
        if terminated or parser.token.kind != "end":
            _expect_end(parser, tree)
        if _depth(tree) > MAX_DEPTH:
            parser.fail(f"Nested too deeply: more than {MAX_DEPTH} operations in each other")
    except ParseError as error:
        error.statement_text = masked_broken(_statement_text(parser.tokens, first, text))
        raise
    statement_text = text[first.start : parser.tokens[parser.index - 1].end]
    parsed = ParsedStatement(statement_text, first.location, tree, parser.deferred)
    if parsed.error is not None:
        parsed.error.statement_text = parsed.shown_text
    return parsed


def _terminated_statement(parser: StatementParser) -> None:
    _expect_end(parser, parser.statement())


def _expect_end(parser: StatementParser, tree: Statement) -> None:
    """A statement ends here. What does not belong behind a query is where no alternative fits."""
    if parser.at(";") or parser.token.kind == "end" or not _ends_with_query(tree):
        parser.expect(";")
    elif parser.token.key in _MISPLACED:
        parser.fail(f"'{parser.token.text}' cannot stand here. {_MISPLACED[parser.token.key]}")
    else:
        misspelt = parser.tokens[parser.index - 1].text if parser.index else ""
        parser.no_viable(_CLAUSES, misspelt)


# What a name behind a source may have been meant to be: it was taken for the source's alias.
_CLAUSES = (
    *("WINDOW", "WHERE", "GROUP", "PARTITION", "HAVING", "EMIT", "LIMIT", "JOIN", "WITHIN", "INNER", "LEFT"),
    *("RIGHT", "FULL", "CHANGES", "FINAL"),
)

_ORDER = (
    "The clauses of a query come in this order: SELECT, FROM .. JOIN .. WITHIN .. ON, WINDOW, WHERE, "
    "GROUP BY, PARTITION BY, HAVING, EMIT, LIMIT."
)
# What to say of words that are spelt right, and come too late.
_MISPLACED = dict.fromkeys(_CLAUSES, _ORDER) | {"WITH": "WITH (..) comes before AS SELECT."}


def _ends_with_query(tree: Statement) -> bool:
    if isinstance(tree, ast.Explain) and tree.statement is not None:
        return _ends_with_query(tree.statement)
    return isinstance(tree, ast.Query | ast.CreateSourceAs | ast.InsertInto)


def _statement_text(tokens: list[Token], first: Token, text: str) -> str:
    end = next(t for t in tokens if t.start >= first.start and t.key in (";", "<EOF>")).end
    return text[first.start : end].rstrip()


def _unreadable_statement(text: str) -> str:
    """The statement that holds the first character that starts no token, and all behind it."""
    tokens, end = readable(text)
    for token in reversed(tokens):
        if token.key == ";":
            break
        end = token.start
    return text[end:]


def _depth(tree: ast.Node) -> int:
    """How deep the tree is, found without recursion."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.children(node)]
    return depth


def parse_statement(text: str, *, cli: bool = False, testing: bool = False) -> Statement:
    """Parse exactly one statement; its semicolon may be missing.

    Raises
    ------
    ParseError
        If it is not one statement, or is wrong in itself.
    """
    statements = parse_script(text, cli=cli, testing=testing, terminated=False)
    if len(statements) != 1:
        raise ParseError(f"Expected exactly one KSQL statement; found {len(statements)} instead")
    return statements[0].ast


def parse_expression(text: str) -> Expression:
    """Parse an expression.

    Raises
    ------
    ParseError
    """
    return _parse_whole(text, StatementParser.expression)


def parse_type(text: str) -> DataType:
    """Parse a type, as in ``ARRAY<STRUCT<A INT>>``.

    Raises
    ------
    ParseError
    """
    return _parse_whole(text, StatementParser.type)


def parse_schema(text: str) -> tuple[ast.TableElement, ...]:
    """Parse a list of columns without parentheses, as in ``ID INT KEY, NAME STRING``.

    Raises
    ------
    ParseError
    """
    return _parse_whole(text, StatementParser.elements)


def _parse_whole(text: str, production: Callable[[StatementParser], T]) -> T:
    def whole(parser: StatementParser) -> T:
        found = production(parser)
        parser.expect("<EOF>")
        return found

    parser = StatementParser(tokenize(text))
    parser.begin(whole)
    result = whole(parser)
    if isinstance(result, ast.Node) and _depth(result) > MAX_DEPTH:
        parser.fail(f"Nested too deeply: more than {MAX_DEPTH} operations in each other")
    if parser.deferred is not None:
        raise parser.deferred
    return result


def statement_spans(text: str) -> list[tuple[int, int]]:
    """Find the statements of a script by its semicolons, whatever stands between them.

    Returns
    -------
    list of (int, int)
        Offset of the first character, and the one behind the semicolon. White space and comments before a
        statement do not belong to it; the last may lack its semicolon.

    Raises
    ------
    ParseError
        If a string, quoted name or comment does not end.
    """
    spans: list[tuple[int, int]] = []
    start: int | None = None
    end = 0
    for token in tokenize(text):
        if token.key not in (";", "<EOF>"):
            start = token.start if start is None else start
            end = token.end
        elif start is not None:
            spans.append((start, token.end if token.key == ";" else end))
            start = None
    return spans


def split_statements(text: str) -> list[tuple[str, int]]:
    """Return the text of each statement, see `statement_spans`, and the number of lines before it."""
    return [(text[start:end], text.count("\n", 0, start)) for start, end in statement_spans(text)]
