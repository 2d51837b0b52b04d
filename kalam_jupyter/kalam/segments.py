"""Flush and compact: rows as Parquet segments in the table's storage.

The engine keeps every row itself; segments are the table's rows for other tools. A flush writes the versions
newer than the last flushed `_seq` into a new segment. Compaction puts one segment with an owner's present
rows in place of those there are, and takes old tombstones out of the table.
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from kalam_jupyter.engine.errors import EngineClosedError
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.catalog import MANIFEST, TableDef
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.jobs import Job, JobSkippedError
from kalam_jupyter.kalam.storage import is_inside, manifest_key, stored_files, whole_file

if TYPE_CHECKING:
    from kalam_jupyter.engine import Snapshot
    from kalam_jupyter.kalam.database import Kalam

#: Tombstones older than this leave a compacted table, unless its DELETED_RETENTION_HOURS says otherwise.
TOMBSTONE_HOURS = 168


class Segments:
    """Flush and compaction of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._lock = threading.Lock()
        self._pending: dict[str, int] = {}
        self._timers: dict[str, threading.Timer] = {}
        kalam.jobs.resume("cleanup", self._clean)

    # ---- what is to be done

    def has_pending(self, table: TableDef) -> bool:
        """Whether a table has rows that are newer than its segments."""
        for owner in self._kalam.owners(table):
            now, snapshot = self._kalam.current(table, owner)
            last = self._kalam.storages.manifest(table, owner)["last_seq"]
            if any(_newer(b, now, last).num_rows for b in snapshot.batches()):
                return True
        return False

    def start_flush(self, tx: Transaction, table: TableDef) -> str:
        """Queue a flush job; return its id."""
        self.forget(table)
        return self._kalam.jobs.start(
            tx,
            "FL",
            "flush",
            {"table_id": f"{table.namespace}:{table.name}"},
            lambda job: self._flush(job, table),
            flush_key(table),
        )

    def start_compact(self, tx: Transaction, table: TableDef) -> str:
        """Queue a compaction job; return its id."""
        return self._kalam.jobs.start(
            tx,
            "CO",
            "compact",
            {"table_id": f"{table.namespace}:{table.name}"},
            lambda job: self._compact(job, table),
            f"compact:{table.qualified}",
        )

    def start_cleanup(self, tx: Transaction, table: TableDef, owners: list[str]) -> str:
        """Queue a job that removes a dropped table's segments and files; return its id."""
        storages, jobs = self._kalam.storages, self._kalam.jobs
        parameters = {"table_id": f"{table.namespace}:{table.name}"}
        if not storages.may_hold(table):
            return jobs.finished(tx, "CL", "cleanup", parameters, "Cleanup completed")
        left = {
            "storage_id": storages.id_of(table),
            "directories": [storages.table_path(table, owner) for owner in owners],
            "born": self._kalam.generators.functions["SNOWFLAKE_ID"](),
        }
        clean = functools.partial(self._clean, left)
        return jobs.start(tx, "CL", "cleanup", parameters, clean, resume=left)

    def _clean(self, left: dict[str, Any], job: Job) -> str:
        storages = self._kalam.storages
        files = storages.open(storages.get(left["storage_id"]))
        for directory in left["directories"]:
            job.check()
            delete_tree(files, directory, left["born"])
        return "Cleanup completed"

    def wrote(self, tx: Transaction, table: TableDef, rows: int) -> None:
        """Apply a table's FLUSH_POLICY once the `rows` that a transaction writes are committed."""
        policy = table.options.get("flush_policy")
        if policy:
            tx.on_commit(lambda: self._apply(policy, table, rows))

    def _apply(self, policy: dict[str, int], table: TableDef, rows: int) -> None:
        with self._lock:
            pending = self._pending[table.qualified] = self._pending.get(table.qualified, 0) + rows
            due = "rows" in policy and pending >= policy["rows"]
            if due:
                self._pending[table.qualified] = 0
            elif "interval" in policy and table.qualified not in self._timers:
                timer = threading.Timer(policy["interval"], self._flush_later, (table.namespace, table.name))
                timer.daemon = True
                self._timers[table.qualified] = timer
                timer.start()
        if due:
            self._flush_soon(table)

    def _flush_later(self, namespace: str, name: str) -> None:
        with self._lock:
            self._timers.pop(f"{namespace}.{name}", None)
        table = self._kalam.find_table(namespace, name)
        if table is not None:
            self._flush_soon(table)

    def _flush_soon(self, table: TableDef) -> None:
        """Queue a flush from the commit of a write: not here, which is no place to start a transaction."""
        if self._kalam.jobs.active(flush_key(table)) is None:
            with contextlib.suppress(EngineClosedError):
                self._kalam.engine.submit(lambda tx: self.start_flush(tx, table))

    def forget(self, table: TableDef) -> None:
        """Count a table's writes from here on: it is about to be flushed, or is gone."""
        with self._lock:
            self._pending.pop(table.qualified, None)
            timer = self._timers.pop(table.qualified, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Stop the timers."""
        with self._lock:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    # ---- the work

    def _current(self, table: TableDef, owner: str) -> tuple[TableDef, Snapshot]:
        """As `Kalam.current`; a job whose table was dropped meanwhile is skipped."""
        with _skipping(table):
            return self._kalam.current(table, owner)

    def _owners(self, table: TableDef) -> list[str]:
        with _skipping(table):
            return self._kalam.owners(table)

    def _flush(self, job: Job, table: TableDef) -> str:
        owners = self._owners(table)
        rows = written = 0
        for n, owner in enumerate(owners):
            job.progress(f"Flushing {n} of {len(owners)} scopes")
            table, snapshot = self._current(table, owner)
            manifest = self._kalam.storages.manifest(table, owner)
            batches = [_newer(b, table, manifest["last_seq"]) for b in snapshot.batches()]
            data = pa.Table.from_batches([b for b in batches if b.num_rows], schema=table.schema.arrow)
            if data.num_rows == 0:
                continue
            newest = pc.max(data.column("_seq")).as_py()
            self._store(table, owner, manifest, manifest["segments"], data, newest)
            rows, written = rows + data.num_rows, written + 1
        return f"Flush completed: {rows} row(s) in {written} segment(s)"

    def _store(
        self,
        table: TableDef,
        owner: str,
        manifest: dict[str, Any],
        kept: list[dict[str, Any]],
        data: pa.Table,
        newest: int,
    ) -> list[dict[str, Any]]:
        """Write rows as a segment behind those that are kept, and have the manifest say so; return them."""
        new = [self._write(table, owner, data, manifest["next"])] if data.num_rows else []
        try:
            self._save(table, owner, [*kept, *new], manifest["next"] + 1, newest)
        except JobSkippedError:
            for segment in new:  # the table was dropped while it was written
                self._kalam.storages.of_table(table).delete_file(segment["path"])
            raise
        return [*kept, *new]

    def _write(self, table: TableDef, owner: str, data: pa.Table, number: int) -> dict[str, Any]:
        """Write a segment under its final name only when it is whole."""
        storages = self._kalam.storages
        files, directory = storages.of_table(table), storages.table_path(table, owner)
        path = f"{directory}/batch-{number}.parquet"
        key = table.schema.names[table.key_index]
        data = data.sort_by([(key, "ascending")])
        with whole_file(files, path) as out:
            pq.write_table(data, out, compression=str(table.options.get("compression", "snappy")))
        seqs = data.column("_seq")
        return {
            "path": path,
            "rows": data.num_rows,
            "bytes": int(files.get_file_info(path).size),
            "min_seq": pc.min(seqs).as_py(),
            "max_seq": pc.max(seqs).as_py(),
            "schema_version": table.version,
            "created_at": self._kalam.engine.clock.now_ms(),
        }

    def _save(self, table: TableDef, owner: str, segments: list[Any], number: int, last_seq: int) -> None:
        def apply(tx: Transaction) -> None:
            self._current(table, owner)
            manifest = {
                "owner": owner,
                "segments": segments,
                "last_seq": last_seq,
                "next": number,
                "updated_at": tx.now_ms,
            }
            tx.put(MANIFEST, manifest_key(table, owner), manifest)

        self._kalam.engine.transact(apply)

    def _compact(self, job: Job, table: TableDef) -> str:
        storages = self._kalam.storages
        before = after = 0
        for owner in storages.owners(table):
            job.progress(f"Compacting {table.qualified}")
            manifest = storages.manifest(table, owner)
            before += len(manifest["segments"])
            table, snapshot = self._current(table, owner)
            after += len(self._compacted(table, owner, manifest, snapshot.table()))
            self._sweep(table, owner)
        purged = self._purge(table)
        return f"Compaction completed: {before} segment(s) into {after}, {purged} tombstone(s) removed"

    def _compacted(
        self, table: TableDef, owner: str, manifest: dict[str, Any], rows: pa.Table
    ) -> list[dict[str, Any]]:
        """Write an owner's present rows as one segment, unless that is what there is; return the segments."""
        present = rows.filter(pc.invert(rows.column("_deleted")))
        newest = max(manifest["last_seq"], pc.max(rows.column("_seq")).as_py() or 0)
        wanted = [(present.num_rows, table.version)] if present.num_rows else []
        segments: list[dict[str, Any]] = manifest["segments"]
        there = [(segment["rows"], segment["schema_version"]) for segment in segments]
        if newest == manifest["last_seq"] and there == wanted:
            return segments
        return self._store(table, owner, manifest, [], present, newest)

    def _sweep(self, table: TableDef, owner: str) -> None:
        """Remove what the manifest does not name: merged segments, and what a crash left."""
        storages = self._kalam.storages
        files, directory = storages.of_table(table), storages.table_path(table, owner)
        named = {segment["path"] for segment in storages.manifest(table, owner)["segments"]}
        for info in stored_files(files, directory, recursive=False):
            if info.base_name.startswith("batch-") and info.path not in named:
                files.delete_file(info.path)

    def _purge(self, table: TableDef) -> int:
        """Take tombstones out of the table that nobody resumes from any more."""
        hours = table.options.get("deleted_retention_hours", TOMBSTONE_HOURS)
        oldest = self._kalam.seq_at(self._kalam.engine.clock.now_ms() - hours * 3_600_000)
        purged = 0
        for owner in self._owners(table):
            keys: list[tuple[Any]] = []
            table, snapshot = self._current(table, owner)
            for batch in snapshot.batches():
                old = pc.and_(
                    batch.column(table.seq_index + 1), pc.less(batch.column(table.seq_index), oldest)
                )
                keys += [(k,) for k in batch.column(table.key_index).filter(old).to_pylist()]
            if keys:
                delete = functools.partial(Transaction.delete, name=table.relation, keys=keys, owner=owner)
                self._kalam.engine.transact(delete)
                purged += len(keys)
        return purged


@contextlib.contextmanager
def _skipping(table: TableDef) -> Iterator[None]:
    try:
        yield
    except StatementError:
        raise JobSkippedError(f"Table {table.qualified} was dropped") from None


def flush_key(table: TableDef) -> str:
    """Return the idempotency key of a table's flush."""
    return f"flush:{table.qualified}"


def _newer(batch: pa.RecordBatch, table: TableDef, last: int) -> pa.RecordBatch:
    return batch.filter(pc.greater(batch.column(table.seq_index), last))


def delete_tree(files: fs.FileSystem, directory: str, born: int) -> None:
    """Remove a dropped table's directory if it is there.

    Files with an id from `born` on stay: they were uploaded into a new table of the same name.
    """
    younger = False
    for info in stored_files(files, directory):
        identifier = re.split("[-.]", info.base_name, maxsplit=1)[0]
        if identifier.isdigit() and int(identifier) >= born:
            younger = True
        else:
            files.delete_file(info.path)
    there = files.get_file_info(directory).type == fs.FileType.Directory and is_inside(files, directory)
    if there and not younger:
        files.delete_dir(directory)
