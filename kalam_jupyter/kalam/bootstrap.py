"""What exists from the first boot: namespaces, the local storage, the operational tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.catalog import NAMESPACE, STORAGE, TABLE, TableDef
from kalam_jupyter.kalam.names import BUILTIN_NAMESPACES
from kalam_jupyter.kalam.statements import nodes, parse_statement

if TYPE_CHECKING:
    from kalam_jupyter.kalam.database import Kalam

_TABLES = {
    "stats": (
        "dba",
        """CREATE SHARED TABLE dba.stats (id TEXT PRIMARY KEY, node_id BIGINT NOT NULL, metric_name TEXT
        NOT NULL, metric_value DOUBLE NOT NULL, metric_unit TEXT, sampled_at TIMESTAMP NOT NULL)""",
    ),
    "notifications": (
        "public",
        """CREATE SHARED TABLE dba.notifications (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, title TEXT NOT
        NULL, body TEXT, is_read BOOLEAN NOT NULL DEFAULT FALSE, created_at TIMESTAMP NOT NULL,
        updated_at TIMESTAMP NOT NULL)""",
    ),
}


def first_boot(kalam: Kalam) -> None:
    """Make what is missing; nothing on later boots."""
    catalogue = kalam.engine.catalogue
    missing = [n for n in BUILTIN_NAMESPACES if catalogue.get(NAMESPACE, n) is None]
    if not missing and catalogue.get(STORAGE, "local") is not None:
        return

    def apply(tx: Transaction) -> None:
        for name in missing:
            tx.put(NAMESPACE, name, {"name": name, "created_at": tx.now_ms, "options": {}})
        if tx.get(STORAGE, "local") is None:
            tx.put(STORAGE, "local", kalam.storages.local_record(tx.now_ms))
        for name, (level, sql) in _TABLES.items():
            if tx.get(TABLE, f"dba.{name}") is None:
                statement = parse_statement(sql)
                assert isinstance(statement, nodes.CreateTable)
                options = {
                    "storage_id": "local",
                    "flush_policy": None,
                    "compression": "snappy",
                    "access_level": level,
                }
                table = TableDef(
                    "dba",
                    name,
                    "shared",
                    statement.columns,
                    1,
                    options,
                    {},
                    tx.now_ms,
                    tx.now_ms,
                    None,
                    tx.position,
                )
                tx.create_relation(table.relation, table.schema)
                tx.put(TABLE, table.qualified, table.to_json())

    kalam.engine.transact(apply)
