"""What can stand at a position of a script, for completion.

The parser itself is asked: it runs up to the cursor, where a token stands that matches nothing and
collects what it is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang.cursor import Role
from kalam_jupyter.ksql.lang.properties import PROPERTIES, names_for
from kalam_jupyter.ksql.lang.statements import StatementParser
from kalam_jupyter.ksql.lang.tokens import KEYWORDS, Token, tokenize
from kalam_jupyter.ksql.lang.types import TYPE_NAMES

_NEW_TYPES = ("ARRAY<", "MAP<", "STRUCT<", "DECIMAL(")
_QUOTES = "'\"`"
_FALLBACK: frozenset[Role] = frozenset({"source", "column", "function"})
_USES = {"CREATE": "create", "INSERT": "insert into", "ASSERT": "assert topic"}


@dataclass(frozen=True)
class Expectation:
    """What can stand at the cursor.

    Attributes
    ----------
    prefix : str
        What is typed of it already, without an opening quote.
    start : int
        Offset where `prefix` begins.
    words : tuple of str
        Keywords, phrases (``GROUP BY``), types and properties, in alphabetical order; not yet narrowed by
        `prefix`.
    roles : frozenset of str
        Kinds of names to look up: source, column, function, type, topic, query, format, setting, ...
    qualifier : str or None
        The source or alias before the point, if the cursor is behind one.
    sources : dict
        Sources that the statement reads, by the name or alias they go by.
    """

    prefix: str
    start: int
    words: tuple[str, ...] = ()
    roles: frozenset[Role] = frozenset()
    qualifier: str | None = None
    sources: dict[str, str] = field(default_factory=dict)


def expected_at(text: str, offset: int) -> Expectation:
    """Return what can stand at `offset` of a script. Never raises: text around the cursor may be broken."""
    before = text[:offset]
    try:
        tokens = tokenize(before)[:-1]
    except ParseError:
        return _inside_quotes(before, text[offset:])
    prefix, start = "", offset
    if tokens and tokens[-1].end == offset and tokens[-1].kind in ("word", "digit word"):
        last = tokens.pop()
        prefix, start = last.text, last.start
    tokens = _last_statement(tokens)
    sources = _sources(tokens + _first_statement(text[offset:]))
    qualifier = None
    if len(tokens) > 1 and tokens[-1].key == ".":
        qualifier = _name(tokens[-2])
    words, roles = _ask(tokens, offset)
    if qualifier is not None:
        roles = frozenset({"column"})
    return Expectation(prefix, start, words, roles, qualifier, sources)


def _ask(tokens: list[Token], offset: int) -> tuple[tuple[str, ...], frozenset[Role]]:
    cursor = Token("cursor", "<cursor>", "", "", offset, offset, 1, 1)
    end = cursor._replace(kind="end", key="<EOF>")
    parser = StatementParser([*tokens, cursor, end], cli=True, probing=True)
    try:
        parser.statement()
    except ParseError:
        if parser.failed_at < len(tokens):
            return tuple(sorted(KEYWORDS)), _FALLBACK
    words = {phrase for key in parser.expected_words if (phrase := _phrase(key))}
    roles = set(parser.expected_roles)
    if "type" in roles:
        words.update(TYPE_NAMES, _NEW_TYPES)
    if "property" in roles:
        used = {token.key for token in tokens}
        words.update(set(names_for(_USES.get(tokens[0].key, "create"))) - used)
    return tuple(sorted(words)), frozenset(roles)


def _phrase(key: str) -> str:
    """The words of a key, without symbols."""
    return " ".join(word for word in key.split() if word.isalpha())


def _inside_quotes(before: str, after: str) -> Expectation:
    """The cursor stands in a string or a quoted name that does not end before it."""
    start = _open_quote(before)
    if start is None:
        return Expectation("", len(before))
    quote, prefix = before[start], before[start + 1 :]
    tokens = _last_statement(tokenize(before[:start])[:-1])
    sources = _sources(tokens + _first_statement(after.partition(quote)[2]))
    if quote != "'":
        qualifier = _name(tokens[-2]) if len(tokens) > 1 and tokens[-1].key == "." else None
        _, roles = _ask(tokens, start)
        return Expectation(
            prefix, start + 1, (), frozenset({"column"}) if qualifier else roles, qualifier, sources
        )
    return Expectation(prefix, start + 1, (), _string_roles(tokens), None, sources)


def _open_quote(before: str) -> int | None:
    """Offset of the quote that does not end; None in a comment."""
    for start, character in enumerate(before):
        if character in _QUOTES:
            try:
                tokenize(before[:start])
            except ParseError:
                continue
            try:
                tokenize(before[: before.index(character, start + 1) + 1])
            except (ParseError, ValueError):
                return start
    return None


def _string_roles(tokens: list[Token]) -> frozenset[Role]:
    """What a string holds: the name of a setting, of a topic, of a format."""
    keys = [token.key for token in tokens]
    if keys[-1:] in (["SET"], ["UNSET"], ["SYSTEM"]):
        return frozenset({"setting"})
    if keys[-1:] == ["PRINT"] or keys[-1:] == ["TOPIC"]:
        return frozenset({"topic"})
    if keys[-1:] == ["="] and len(keys) > 1:
        name = tokens[-2].value.upper()
        if name == "KAFKA_TOPIC":
            return frozenset({"topic"})
        if name in PROPERTIES and name.endswith("FORMAT") and name != "TIMESTAMP_FORMAT":
            return frozenset({"format"})
    return frozenset()


def _last_statement(tokens: list[Token]) -> list[Token]:
    semicolons = [i for i, token in enumerate(tokens) if token.key == ";"]
    return tokens[semicolons[-1] + 1 :] if semicolons else tokens


def _first_statement(text: str) -> list[Token]:
    try:
        tokens = tokenize(text)[:-1]
    except ParseError:
        return []
    return tokens[: next((i for i, token in enumerate(tokens) if token.key == ";"), None)]


def _name(token: Token) -> str:
    return token.value if token.kind == "quoted" else token.value.upper()


def _sources(tokens: list[Token]) -> dict[str, str]:
    """What FROM, JOIN and INSERT INTO name, by alias."""
    found: dict[str, str] = {}
    for i, token in enumerate(tokens):
        if token.key not in ("FROM", "JOIN", "INTO") or i + 1 >= len(tokens):
            continue
        source = tokens[i + 1]
        if source.kind not in ("word", "quoted") or source.key == "BEGINNING":
            continue
        name = _name(source)
        rest = tokens[i + 2 : i + 4]
        if rest and rest[0].key == "AS":
            rest = rest[1:]
        is_alias = rest and rest[0].kind in ("word", "quoted") and rest[0].key not in KEYWORDS
        found[_name(rest[0]) if is_alias else name] = name
    return found
