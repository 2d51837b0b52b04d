"""Which statements the classification keeps for admins, told by their leading words.

The gate stands before the grammar: who may not run a statement is told so, and nothing about its mistakes.
"""

from __future__ import annotations

from kalam_jupyter.kalam.errors import SqlSyntaxError
from kalam_jupyter.kalam.statements import nodes
from kalam_jupyter.kalam.stream import TokenStream

_GATED: dict[tuple[str, str], type[nodes.Statement]] = {
    ("CREATE", "NAMESPACE"): nodes.CreateNamespace,
    ("CREATE", "SCHEMA"): nodes.CreateNamespace,
    ("ALTER", "NAMESPACE"): nodes.AlterNamespace,
    ("DROP", "NAMESPACE"): nodes.DropNamespace,
    ("DROP", "SCHEMA"): nodes.DropNamespace,
    ("CREATE", "STORAGE"): nodes.CreateStorage,
    ("ALTER", "STORAGE"): nodes.AlterStorage,
    ("DROP", "STORAGE"): nodes.DropStorage,
    ("STORAGE", "CHECK"): nodes.CheckStorage,
    ("CREATE", "USER"): nodes.CreateUser,
    ("DROP", "USER"): nodes.DropUser,
    ("CREATE", "TOPIC"): nodes.CreateTopic,
    ("ALTER", "TOPIC"): nodes.AddSource,
    ("DROP", "TOPIC"): nodes.DropTopic,
    ("CLEAR", "TOPIC"): nodes.ClearTopic,
    ("KILL", "JOB"): nodes.KillJob,
    ("BACKUP", ""): nodes.Backup,
    ("RESTORE", ""): nodes.Restore,
    ("CLUSTER", ""): nodes.Cluster,
}


def gate_of_words(sql: str) -> str | None:
    """Return the gate of a statement that its parser refused; None when it has none."""
    try:
        s = TokenStream(sql)
    except SqlSyntaxError:
        return None
    if s.at_word("CREATE", "USER", "TABLE") or s.at_word("DROP", "USER", "TABLE"):
        return None
    first, second = s.current.text, s.peek().text
    found = _GATED.get((first, second)) or _GATED.get((first, ""))
    return None if found is None else found.gate
