"""From text to statements.

The kind of a statement is decided by its leading words: `PARSERS` is that table. SELECT text is not parsed
here; the query engine does that.
"""

from __future__ import annotations

from collections.abc import Callable

from kalam_jupyter.kalam.errors import SqlSyntaxError
from kalam_jupyter.kalam.statements import admin, alter, data, nodes, tables
from kalam_jupyter.kalam.statements.nodes import Statement
from kalam_jupyter.kalam.stream import TokenStream
from kalam_jupyter.kalam.tokens import OP, WORD

Parser = Callable[[TokenStream], Statement]

#: Leading words -> how many of them the parser expects to find consumed, and the parser.
PARSERS: dict[tuple[str, ...], tuple[int, Parser]] = {
    ("INSERT",): (1, data.insert),
    ("UPDATE",): (1, data.update),
    ("DELETE",): (1, data.delete),
    ("BEGIN",): (1, data.begin),
    ("START",): (1, data.start_transaction),
    ("COMMIT",): (1, data.commit),
    ("ROLLBACK",): (1, data.rollback),
    ("EXECUTE",): (1, data.execute_as),
    ("SUBSCRIBE",): (1, data.subscribe_to),
    ("CREATE", "NAMESPACE"): (2, tables.create_namespace),
    ("CREATE", "SCHEMA"): (2, tables.create_namespace),
    ("CREATE", "TABLE"): (1, tables.create_table),
    ("CREATE", "USER", "TABLE"): (1, tables.create_table),
    ("CREATE", "SHARED"): (1, tables.create_table),
    ("CREATE", "STREAM"): (1, tables.create_table),
    ("CREATE", "VIEW"): (1, tables.create_view),
    ("CREATE", "OR"): (1, tables.create_view),
    ("CREATE", "MATERIALIZED"): (1, tables.create_view),
    ("CREATE", "USER"): (2, admin.create_user),
    ("CREATE", "STORAGE"): (2, admin.create_storage),
    ("CREATE", "TOPIC"): (2, admin.create_topic),
    ("ALTER", "NAMESPACE"): (2, tables.alter_namespace),
    ("ALTER", "TABLE"): (1, alter.alter_table),
    ("ALTER", "USER", "TABLE"): (1, alter.alter_table),
    ("ALTER", "SHARED"): (1, alter.alter_table),
    ("ALTER", "STREAM"): (1, alter.alter_table),
    ("ALTER", "USER"): (2, admin.alter_user),
    ("ALTER", "STORAGE"): (2, admin.alter_storage),
    ("ALTER", "TOPIC"): (2, admin.alter_topic),
    ("DROP", "NAMESPACE"): (2, tables.drop_namespace),
    ("DROP", "SCHEMA"): (2, tables.drop_namespace),
    ("DROP", "TABLE"): (1, tables.drop_table),
    ("DROP", "VIEW"): (2, tables.drop_view),
    ("DROP", "USER", "TABLE"): (1, tables.drop_table),
    ("DROP", "SHARED"): (1, tables.drop_table),
    ("DROP", "STREAM"): (1, tables.drop_table),
    ("DROP", "USER"): (2, admin.drop_user),
    ("DROP", "STORAGE"): (2, admin.drop_storage),
    ("DROP", "TOPIC"): (2, admin.drop_topic),
    ("CLEAR", "TOPIC"): (2, admin.clear_topic),
    ("USE",): (1, tables.use_namespace),
    ("SET", "NAMESPACE"): (2, tables.use_namespace),
    ("SHOW",): (1, admin.show),
    ("DESCRIBE",): (1, admin.describe),
    ("DESC",): (1, admin.describe),
    ("STORAGE",): (1, admin.storage_command),
    ("KILL",): (1, admin.kill),
    ("BACKUP",): (1, admin.backup),
    ("RESTORE",): (1, admin.restore),
    ("EXPORT",): (1, admin.export_user_data),
    ("CLUSTER",): (1, admin.cluster),
    ("CONSUME",): (1, admin.consume),
    ("ACK",): (1, admin.ack),
}
_LONGEST = max(map(len, PARSERS))
_QUERY_WORDS = ("SELECT", "WITH", "VALUES")


def parse_statement(sql: str) -> Statement:
    """Parse one statement.

    Raises
    ------
    StatementError
        `SqlSyntaxError` with a position for what the grammar does not know; other kinds for what it refuses.
    KalamError
        For a malformed EXECUTE AS USER.
    """
    s = TokenStream(sql)
    first = s.current
    if (first.kind == WORD and first.text in _QUERY_WORDS) or (first.kind == OP and first.text == "("):
        return nodes.Select(sql)
    if first.kind == WORD and first.text in ("EXPLAIN", "SET") and not s.at_word("SET", "NAMESPACE"):
        return nodes.EngineCommand(sql, what=first.text)
    words = tuple(t.text if t.kind == WORD else "" for t in s.tokens[:_LONGEST])
    for length in range(_LONGEST, 0, -1):
        found = PARSERS.get(words[:length])
        if found is not None:
            s.i, parser = found
            return parser(s)
    raise SqlSyntaxError(f"Unsupported statement type: {sql[:60].strip()}", None)


def engine_gate(statement: nodes.EngineCommand) -> str:
    """Return the gate text of a query-engine command."""
    what = {"EXPLAIN": "EXPLAIN commands", "SET": "SET commands"}.get(statement.what, statement.what)
    return nodes.admin_gate(what)
