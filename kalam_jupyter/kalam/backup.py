"""BACKUP and RESTORE DATABASE: definitions as JSON, rows as Parquet, in one directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow.parquet as pq

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.catalog import NAMESPACE, STORAGE, TABLE, TABLE_HISTORY, TOPIC, USER, TableDef
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.jobs import Job
from kalam_jupyter.kalam.storage import path_part

if TYPE_CHECKING:
    from kalam_jupyter.kalam.database import Kalam

KINDS = (NAMESPACE, STORAGE, TABLE, TABLE_HISTORY, TOPIC, USER)
_MANIFEST = "backup.json"
_FORMAT = 1


class Backups:
    """Backup and restore of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam

    def _directory(self, path: str) -> Path:
        """A relative path is below the storage's directory."""
        if not path.strip():
            raise StatementError("invalid_operation", "Backup path cannot be empty")
        found = Path(path)
        return found if found.is_absolute() else self._kalam.storages.base / "backups" / found

    def start_backup(self, tx: Transaction, path: str) -> str:
        """Queue a backup job; return its id."""
        target = self._directory(path)
        return self._kalam.jobs.start(
            tx, "BK", "backup", {"path": path}, lambda job: self._backup(job, target)
        )

    def check_source(self, path: str) -> None:
        """Raise `StatementError` unless there is a backup at a path."""
        if not (self._directory(path) / _MANIFEST).is_file():
            raise StatementError("not_found", f"Backup directory '{path}' not found")

    def start_restore(self, tx: Transaction, path: str) -> str:
        """Queue a restore job; return its id."""
        source = self._directory(path)
        return self._kalam.jobs.start(
            tx, "RS", "restore", {"path": path}, lambda job: self._restore(job, source)
        )

    def _backup(self, job: Job, target: Path) -> str:
        """Write everything into a directory beside the target, then put it in place.

        Definitions and snapshots are taken at one log position; snapshots are immutable, so writing
        holds nobody up.
        """
        kalam = self._kalam
        with kalam.engine.lock:
            definitions = {kind: dict(kalam.engine.catalogue.items(kind)) for kind in KINDS}
            snapshots = [
                (table, owner, kalam.relation(table).snapshot(owner))
                for table in kalam.tables()
                for owner in (kalam.relation(table).owners() if table.owned else [""])
            ]
            position = kalam.engine.position
        partial = target.with_name(target.name + ".part")
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True, mode=0o700)
        entries: list[dict[str, Any]] = []
        for n, (table, owner, snapshot) in enumerate(snapshots):
            job.progress(f"Backing up {n} of {len(snapshots)} row sets")
            name = f"{table.qualified}-{path_part(owner)}.parquet"
            pq.write_table(snapshot.table(), partial / name)
            entries.append(
                {"table": table.qualified, "owner": owner, "file": name, "rows": snapshot.num_rows}
            )
        content = {"format": _FORMAT, "position": position, "definitions": definitions, "rows": entries}
        (partial / _MANIFEST).write_bytes(orjson.dumps(content))
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
        return f"Backup completed: {len(snapshots)} row set(s)"

    def _restore(self, job: Job, source: Path) -> str:
        """Put the backup's state in place of the present one, in one transaction."""
        kalam = self._kalam
        content = orjson.loads((source / _MANIFEST).read_bytes())
        if content["format"] != _FORMAT:
            raise ValueError(f"backup format {content['format']} is not supported")
        tables = {name: TableDef.from_json(value) for name, value in content["definitions"][TABLE].items()}
        rows = [(e, pq.read_table(source / e["file"])) for e in content["rows"]]
        job.check()

        def apply(tx: Transaction) -> None:
            for table in kalam.tables():
                tx.drop_relation(table.relation)
                tx.on_commit(lambda t=table: kalam.forget_table(t))  # type: ignore[misc]
            for kind in KINDS:
                for name in kalam.engine.catalogue.names(kind):
                    tx.remove(kind, name)
                for name, value in content["definitions"][kind].items():
                    tx.put(kind, name, value)
            for table in tables.values():
                tx.create_relation(table.relation, table.schema, owned=table.owned)
            for entry, data in rows:
                table = tables[entry["table"]]
                tx.insert(table.relation, data.cast(table.schema.arrow), owner=entry["owner"])
            for name, definition in content["definitions"][TOPIC].items():
                if kalam.engine.find_topic(name) is None:
                    retention = {
                        "retention_ms": definition["retention_seconds"] * 1000,
                        "retention_bytes": definition["retention_max_bytes"],
                    }
                    tx.create_topic(name, definition["partitions"], retention)

        kalam.engine.transact(apply)
        return f"Restore completed: {len(tables)} table(s)"
