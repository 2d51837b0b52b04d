"""Preparing SELECT text for the query engine: what a query refers to, and the spans that have to be replaced.

Everything here works on tokens and replaces spans of the original text, so string literals and comments are
never touched. What is found out about a text is kept in a `Prepared` and cached by the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from kalam_jupyter.kalam.errors import SqlSyntaxError
from kalam_jupyter.kalam.tokens import (
    END,
    OP,
    PARAM,
    QUOTED,
    STRING,
    WORD,
    Token,
    position_of,
    tokenize,
)

CONTEXT_WORDS = {
    "CURRENT_USER": "user",
    "CURRENT_USER_ID": "user",
    "CURRENT_ROLE": "role",
}
#: Functions that give another value for every row: they get a volatile argument that has the batch's length.
ROW_FUNCTIONS = {"SNOWFLAKE_ID": "kdb_snowflake_id", "UUID_V7": "kdb_uuid_v7", "ULID": "kdb_ulid"}
#: Functions whose value is another each time a query runs, though its rows are the same.
CHANGING = frozenset(
    {"now", "today", "current_date", "current_time", "current_timestamp", "random", "uuid"}
    | {name.lower() for name in ROW_FUNCTIONS}
)
JSON_OPERATORS = {"->": "json_get", "->>": "json_as_text", "?": "json_contains"}
#: JSON functions that take a path of any length; all but the last key go through json_get.
JSON_FUNCTIONS = frozenset(
    {
        "JSON_GET",
        "JSON_GET_STR",
        "JSON_GET_INT",
        "JSON_GET_FLOAT",
        "JSON_GET_BOOL",
        "JSON_GET_JSON",
        "JSON_GET_ARRAY",
        "JSON_AS_TEXT",
        "JSON_CONTAINS",
        "JSON_LENGTH",
        "JSON_OBJECT_KEYS",
    }
)


@dataclass(frozen=True)
class VectorCall:
    """``vector_search('ns.table', 'column', query [, k])``, replaced by a table name.

    Attributes
    ----------
    name : str
        The table that takes its place.
    query : Token
        A string or a parameter.
    """

    name: str
    table: str
    column: str
    query: Token
    k: int


@dataclass(frozen=True)
class Prepared:
    """What is known about a query text.

    Attributes
    ----------
    sql : str
        Text for the query engine; ``{user}`` spans are still to be filled in by `fill`.
    parts : tuple of (text, slot)
        The text in pieces: after each piece comes the value of its slot (``user``, ``role`` or nothing).
    names : tuple of (namespace or None, name)
        Every identifier chain that could be a table.
    has_limit : bool
        LIMIT or FETCH anywhere.
    order_at : int or None
        Where ``ORDER BY`` may be put in: None when there is one, or the query is no plain SELECT.
    mentions_deleted : bool
        Tombstones are to be seen.
    parameters : int
        The greatest n of ``$n``.
    references : tuple of (namespace or None, name), or None
        What each FROM and JOIN names, however often: the product of their rows bounds the work. None where it
        does not: recursion, generated rows, values of any length.
    changing : bool
        Names a function whose value is another each time.
    """

    parts: tuple[tuple[str, str | None], ...]
    names: tuple[tuple[str | None, str], ...]
    has_limit: bool
    order_at: int | None
    mentions_deleted: bool
    parameters: int
    uses_information_schema: bool
    functions: frozenset[str]
    vector_calls: tuple[VectorCall, ...]
    references: tuple[tuple[str | None, str], ...] | None
    changing: bool

    def fill(self, user: str, role: str) -> str:
        """Return the text with the context functions replaced by literals."""
        values = {"user": _literal(user), "role": _literal(role)}
        return "".join(text + (values[slot] if slot else "") for text, slot in self.parts)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


#: Texts up to this long are kept prepared.
CACHED_TEXT = 8192


def prepare(sql: str) -> Prepared:
    """Examine a query text; what was found is kept for the next time, unless the text is long.

    Raises
    ------
    SqlSyntaxError
    """
    return prepare_cached(sql) if len(sql) <= CACHED_TEXT else _prepare(sql)


def _prepare(sql: str) -> Prepared:
    sql = _rewrite_json(sql.strip().rstrip(";").rstrip())
    tokens = tokenize(sql)
    calls = _vector_calls(sql, tokens)
    edits = sorted([*_context_edits(sql, tokens), *((a, b, call.name, None) for a, b, call in calls)])
    order_at = _order_position(tokens)
    parts: list[tuple[str, str | None]] = []
    at = 0
    for start, end, text, slot in edits:
        parts.append((sql[at:start] + text, slot))
        at = end
    if edits and order_at is not None:
        order_at += sum(len(text) - (end - start) for start, end, text, _ in edits if end <= order_at)
        order_at = order_at if not any(slot for *_, slot in edits) else -1
    parts.append((sql[at:], None))
    words = {t.text for t in tokens if t.kind == WORD}
    identifiers = {t.text.lower() for t in tokens if t.kind in (WORD, QUOTED)}
    return Prepared(
        tuple(parts),
        tuple(dict.fromkeys(_names(sql, tokens))),
        bool(words & {"LIMIT", "FETCH"}),
        order_at,
        "_deleted" in _after_where(tokens),
        max((int(t.text[1:]) for t in tokens if t.kind == PARAM), default=0),
        "information_schema" in identifiers,
        frozenset(w.lower() for w in words),
        tuple(call for *_, call in calls),
        _references(sql, tokens, words),
        not CHANGING.isdisjoint(identifiers),
    )


prepare_cached = lru_cache(maxsize=2048)(_prepare)


_UNBOUNDED = frozenset(
    {"RECURSIVE", "GENERATE_SERIES", "RANGE", "UNNEST", "REPEAT", "LPAD", "RPAD", "ARRAY_RESIZE"}
)
_BEHIND_FROM = frozenset(
    {"WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT", "SELECT"}
)


def _references(sql: str, tokens: list[Token], words: set[str]) -> tuple[tuple[str | None, str], ...] | None:
    """Return what stands behind each FROM, JOIN, and comma of a FROM."""
    if words & _UNBOUNDED:
        return None
    found: list[tuple[str | None, str]] = []
    in_from = [False]  # of each query that is open
    expected = False
    for i, t in enumerate(tokens):
        if t.kind == OP:
            if t.text == "(":
                in_from.append(False)
            elif t.text == ")" and len(in_from) > 1:
                in_from.pop()
            expected = t.text == "," and in_from[-1]
        elif t.kind == WORD and t.text in ("FROM", "JOIN"):
            in_from[-1] = expected = True
        elif t.kind == WORD and t.text in _BEHIND_FROM:
            in_from[-1] = expected = False
        elif expected and t.kind in (WORD, QUOTED) and t.text != "LATERAL":
            chain, end = _chain(sql, tokens, i)
            if tokens[end].text == "(":
                return None
            found.append((chain[-2] if len(chain) > 1 else None, chain[-1]))
            expected = False
    return tuple(found)


def _chain(sql: str, tokens: list[Token], i: int) -> tuple[list[str], int]:
    """Return the names of ``a``, ``a.b`` or ``a.b.c`` at a token, and the index of the token behind."""
    chain = [_name(sql, tokens[i])]
    while tokens[i + 1].kind == OP and tokens[i + 1].text == "." and tokens[i + 2].kind in (WORD, QUOTED):
        chain.append(_name(sql, tokens[i + 2]))
        i += 2
    return chain, i + 1


def _after_where(tokens: list[Token]) -> set[str]:
    """Identifiers anywhere behind a WHERE: `_deleted` there switches the hiding of tombstones off."""
    for i, t in enumerate(tokens):
        if t.kind == WORD and t.text == "WHERE":
            return {x.text.lower() for x in tokens[i:] if x.kind in (WORD, QUOTED)}
    return set()


def _name(sql: str, t: Token) -> str:
    return t.text if t.kind == QUOTED else sql[t.start : t.end].lower()


def _names(sql: str, tokens: list[Token]) -> list[tuple[str | None, str]]:
    """Every chain ``a``, ``a.b`` or ``a.b.c`` that could name a table."""
    found: list[tuple[str | None, str]] = []
    i = 0
    while tokens[i].kind != END:
        if tokens[i].kind not in (WORD, QUOTED):
            i += 1
            continue
        chain, i = _chain(sql, tokens, i)
        if len(chain) == 1:
            found.append((None, chain[0]))
        else:
            found += list(pairwise(chain))
    return found


def _context_edits(sql: str, tokens: list[Token]) -> list[tuple[int, int, str, str | None]]:
    """(start, end, replacement, slot) for context and per-row functions."""
    edits: list[tuple[int, int, str, str | None]] = []
    for i, t in enumerate(tokens):
        if t.kind != WORD or (i and tokens[i - 1].text == "." and tokens[i - 1].kind == OP):
            continue
        empty_call = tokens[i + 1].text == "(" and tokens[i + 2].text == ")" and tokens[i + 1].kind == OP
        if t.text in CONTEXT_WORDS and (
            empty_call or (t.text != "CURRENT_USER_ID" and tokens[i + 1].text not in ("(", "."))
        ):
            edits.append((t.start, tokens[i + 2].end if empty_call else t.end, "", CONTEXT_WORDS[t.text]))
        elif t.text in ROW_FUNCTIONS and empty_call:
            edits.append((t.start, tokens[i + 2].end, f"{ROW_FUNCTIONS[t.text]}(random())", None))
    return edits


def _vector_calls(sql: str, tokens: list[Token]) -> list[tuple[int, int, VectorCall]]:
    """(start, end, call) of every `vector_search`; its arguments are literals, the query may be a
    parameter."""
    found: list[tuple[int, int, VectorCall]] = []
    for i, t in enumerate(tokens):
        if t.kind != WORD or t.text != "VECTOR_SEARCH" or tokens[i + 1].text != "(":
            continue
        end = _closing(sql, tokens, i + 1)
        given = [x for x in tokens[i + 2 : end] if x.text != ","]
        kinds = [x.kind for x in given]
        if len(given) not in (3, 4) or kinds[:2] != [STRING, STRING] or kinds[2] not in (STRING, PARAM):
            text = "vector_search takes ('ns.table', 'column', query [, top_k])"
            raise SqlSyntaxError(text, position_of(sql, t.start))
        table, column, query, *rest = given
        if rest and not rest[0].text.isdigit():
            raise SqlSyntaxError("top_k must be a number", position_of(sql, rest[0].start))
        k = int(rest[0].text) if rest else 10
        call = VectorCall(f"kdb_vector_{len(found)}", table.text, column.text, query, k)
        found.append((t.start, tokens[end].end, call))
    return found


_NO_ORDER = frozenset({"UNION", "EXCEPT", "INTERSECT", "GROUP", "DISTINCT", "HAVING", "ORDER", "VALUES"})


def _order_position(tokens: list[Token]) -> int | None:
    """Offset where a default ORDER BY can be put: before a top-level LIMIT, OFFSET or FETCH, else the end."""
    depth = 0
    at: int | None = None
    if tokens[0].kind != WORD or tokens[0].text not in ("SELECT", "WITH"):
        return None
    has_from = False
    for t in tokens:
        if t.kind == OP:
            depth += (t.text == "(") - (t.text == ")")
        elif t.kind == WORD and depth == 0:
            if t.text in _NO_ORDER:
                return None
            has_from = has_from or t.text == "FROM"
            if t.text in ("LIMIT", "OFFSET", "FETCH") and at is None:
                at = t.start
    if not has_from:
        return None
    return tokens[-1].start if at is None else at


# ---- JSON operators and functions --------------------------------------------------------------------------


def _rewrite_json(sql: str) -> str:
    """Replace ``a -> k``, ``a ->> k``, ``a ? k`` and JSON functions with long paths by two-argument
    functions."""
    if "->" not in sql and "?" not in sql and "json_" not in sql.lower():
        return sql
    while True:
        tokens = tokenize(sql)
        at = next((i for i, t in enumerate(tokens) if t.kind == OP and t.text in JSON_OPERATORS), None)
        if at is not None:
            sql = _rewrite_operator(sql, tokens, at)
            continue
        edited = _rewrite_call(sql, tokens)
        if edited is None:
            return sql
        sql = edited


def _rewrite_operator(sql: str, tokens: list[Token], at: int) -> str:
    left = _operand_start(sql, tokens, at)
    right = _operand_end(sql, tokens, at + 1)
    function = JSON_OPERATORS[tokens[at].text]
    a = sql[tokens[left].start : tokens[at - 1].end]
    b = sql[tokens[at + 1].start : tokens[right].end]
    return f"{sql[: tokens[left].start]}{function}({a}, {b}){sql[tokens[right].end :]}"


def _operand_start(sql: str, tokens: list[Token], at: int) -> int:
    """Index of the first token of the primary that ends before `at`."""
    i = at - 1
    if i < 0:
        raise SqlSyntaxError(
            "Expected: an operand before the JSON operator", position_of(sql, tokens[at].start)
        )
    if tokens[i].kind == OP and tokens[i].text == ")":
        depth = 0
        while i >= 0:
            if tokens[i].kind == OP:
                depth += (tokens[i].text == ")") - (tokens[i].text == "(")
                if depth == 0:
                    break
            i -= 1
        if (
            i > 0
            and tokens[i - 1].kind in (WORD, QUOTED)
            and tokens[i - 1].text not in ("SELECT", "WHERE", "AND", "OR", "NOT")
        ):
            i -= 1
    elif tokens[i].kind == OP:
        raise SqlSyntaxError(
            "Expected: an operand before the JSON operator", position_of(sql, tokens[at].start)
        )
    while i >= 2 and tokens[i - 1].text == "." and tokens[i - 1].kind == OP:
        i -= 2
    if i >= 2 and tokens[i - 1].text == "::":
        return _operand_start(sql, tokens, i - 1)
    return max(i, 0)


def _operand_end(sql: str, tokens: list[Token], i: int) -> int:
    """Index of the last token of the primary that starts at `i`."""
    if tokens[i].kind == END:
        raise SqlSyntaxError("Expected: a key after the JSON operator", position_of(sql, tokens[i].start))
    if tokens[i].kind == OP and tokens[i].text == "-":
        i += 1
    if tokens[i].kind == OP and tokens[i].text == "(":
        return _closing(sql, tokens, i)
    while tokens[i + 1].kind == OP and tokens[i + 1].text == "." and tokens[i + 2].kind in (WORD, QUOTED):
        i += 2
    if tokens[i].kind == WORD and tokens[i + 1].kind == OP and tokens[i + 1].text == "(":
        return _closing(sql, tokens, i + 1)
    return i


def _closing(sql: str, tokens: list[Token], i: int) -> int:
    depth = 0
    for j in range(i, len(tokens)):
        if tokens[j].kind == OP:
            depth += (tokens[j].text == "(") - (tokens[j].text == ")")
            if depth == 0:
                return j
    raise SqlSyntaxError("Expected: )", position_of(sql, tokens[i].start))


def _rewrite_call(sql: str, tokens: list[Token]) -> str | None:
    """Bring the first JSON call whose argument count is not its function's to two arguments; None when
    all are."""
    for i, t in enumerate(tokens):
        if t.kind != WORD or t.text not in JSON_FUNCTIONS or tokens[i + 1].text != "(":
            continue
        end = _closing(sql, tokens, i + 1)
        arguments, depth, start = [], 0, i + 2
        for j in range(i + 1, end + 1):
            if tokens[j].kind == OP:
                depth += (tokens[j].text in "([") - (tokens[j].text in ")]")
                if (tokens[j].text == "," and depth == 1) or j == end:
                    arguments.append(sql[tokens[start].start : tokens[j].start].strip())
                    start = j + 1
        if len(arguments) == 2 and arguments[1] != "":
            continue
        if len(arguments) == 1 and arguments[0]:
            inner = f"{arguments[0]}, ''"
            if t.text not in ("JSON_LENGTH", "JSON_OBJECT_KEYS"):
                raise SqlSyntaxError(f"{t.text.lower()} needs a key", position_of(sql, t.start))
        elif len(arguments) > 2:
            target = arguments[0]
            for key in arguments[1:-1]:
                target = f"json_get({target}, {key})"
            inner = f"{target}, {arguments[-1]}"
        else:
            raise SqlSyntaxError(f"{t.text.lower()} needs arguments", position_of(sql, t.start))
        return f"{sql[: t.start]}{t.text.lower()}({inner}{sql[tokens[end].start :]}"
    return None
