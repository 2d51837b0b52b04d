"""BACKUP and RESTORE DATABASE: definitions, rows, messages and files in one directory.

``backup.json``
    Definitions, and what lies beside it.
``rows/``
    Row sets of tables, one for each owner.
``topics/``
    Messages of topics, in the order they arrived, and where their consumer groups are.
``files/``
    Uploaded files, below the row set they belong to.

What is ksqlDB's is not part of it, nor are vector indexes: the first search makes them again.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow.parquet as pq
from pyarrow import fs

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.backup_topics import TopicBackup, restore_topic
from kalam_jupyter.kalam.catalog import (
    FILES,
    MANIFEST,
    NAMESPACE,
    STORAGE,
    TABLE,
    TABLE_HISTORY,
    TOPIC,
    USER,
    VIEW,
    TableDef,
)
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.files import is_file_folder, named_file
from kalam_jupyter.kalam.jobs import Job
from kalam_jupyter.kalam.storage import LOCAL, check_inside, path_part, stored_files
from kalam_jupyter.kalam.types import FILE

if TYPE_CHECKING:
    from kalam_jupyter.engine import Snapshot
    from kalam_jupyter.kalam.database import Kalam

KINDS = (NAMESPACE, STORAGE, TABLE, TABLE_HISTORY, TOPIC, USER, VIEW)
_MANIFEST = "backup.json"
_FORMAT = 2
_COUNT = "count:"


@contextlib.contextmanager
def _whole_directory(target: Path) -> Iterator[Path]:
    """Make a directory that takes its place when it is whole; of one that fails nothing is left.

    Nobody else may read it: it holds password hashes, and what opens storages.
    """
    partial = target.with_name(f".{target.name}.kalam-backup")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(mode=0o700, parents=True)
    try:
        yield partial
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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

    def check_target(self, path: str) -> None:
        """Raise `StatementError` if a path holds something that is no backup: a backup takes its place."""
        target = self._directory(path)
        if not target.exists() or (target / _MANIFEST).is_file():
            return
        if not target.is_dir() or any(target.iterdir()):
            raise StatementError("invalid_operation", f"'{path}' exists and is no backup")

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

    # ---- backup

    def _backup(self, job: Job, target: Path) -> str:
        """Write everything into a directory beside the target, then put it in place.

        Definitions, snapshots and the ends of topics are taken at one log position; what they hold does
        not change, so writing holds nobody up. Files never change, are there before their rows, and are
        copied if a row of the snapshot names them.
        """
        kalam = self._kalam
        with kalam.engine.lock:
            definitions = {kind: dict(kalam.engine.catalogue.items(kind)) for kind in KINDS}
            counts = {n: v for n, v in kalam.engine.catalogue.items(FILES) if n.startswith(_COUNT)}
            snapshots = [
                (table, owner, kalam.relation(table).snapshot(owner)) for table, owner in self._row_sets()
            ]
            topics = [TopicBackup(kalam.engine.topic(name)) for name in definitions[TOPIC]]
            position = kalam.engine.position
        with _whole_directory(target) as directory:
            found = self._write(job, directory, snapshots, topics)
            content = {"format": _FORMAT, "position": position, "definitions": definitions, "counts": counts}
            (directory / _MANIFEST).write_bytes(orjson.dumps({**content, **found}))
        files = sum(len(entry["files"]) for entry in found["rows"])
        return f"Backup completed: {len(snapshots)} row set(s), {len(topics)} topic(s), {files} file(s)"

    def _write(
        self,
        job: Job,
        directory: Path,
        snapshots: Sequence[tuple[TableDef, str, Snapshot]],
        topics: Sequence[TopicBackup],
    ) -> dict[str, Any]:
        """Write rows, files and messages; return what the manifest says of them."""
        for part in ("rows", "topics"):
            (directory / part).mkdir()
        rows: list[dict[str, Any]] = []
        for n, (table, owner, snapshot) in enumerate(snapshots):
            job.progress(f"Backing up {n} of {len(snapshots)} row sets")
            name = f"{table.qualified}-{path_part(owner)}"
            pq.write_table(snapshot.table(), directory / "rows" / f"{name}.parquet")
            stored = self._copy_out(table, owner, snapshot, directory / "files" / name)
            rows.append({"table": table.qualified, "owner": owner, "name": name, "files": stored})
        said = []
        for n, topic in enumerate(topics):
            job.progress(f"Backing up {n} of {len(topics)} topics")
            said.append(topic.write(directory / "topics" / f"{n}.parquet"))
        return {"rows": rows, "topics": said}

    def _row_sets(self) -> Iterator[tuple[TableDef, str]]:
        for table in self._kalam.tables():
            for owner in self._kalam.owners(table):
                yield table, owner

    def _copy_out(self, table: TableDef, owner: str, snapshot: Snapshot, target: Path) -> list[str]:
        """Copy the files that a row set names; return their paths in its directory."""
        named = _named_files(table, snapshot)
        if not named:
            return []
        storages = self._kalam.storages
        files, directory = storages.of_table(table), storages.table_path(table, owner)
        found = [p for p in _uploaded(files, directory) if named_file(*p.split("/")) in named]
        for path in found:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with files.open_input_stream(f"{directory}/{path}") as source, (target / path).open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        return found

    # ---- restore

    def _restore(self, job: Job, source: Path) -> str:
        """Put the backup's state in place of the present one, in one transaction.

        Files that are missing are there before it, noted like uploads so that a crash leaves none
        behind; what no row names any more goes after it.
        """
        kalam = self._kalam
        content = orjson.loads((source / _MANIFEST).read_bytes())
        if content["format"] != _FORMAT:
            raise ValueError(f"backup format {content['format']} is not supported")
        definitions = content["definitions"]
        tables = {name: TableDef.from_json(value) for name, value in definitions[TABLE].items()}
        rows = [(e, pq.read_table(source / "rows" / f"{e['name']}.parquet")) for e in content["rows"]]
        messages = [(t, pq.read_table(source / "topics" / t["file"])) for t in content["topics"]]
        before = self._stored_now()
        copied = self._copy_in(job, source, content["rows"], tables, definitions[STORAGE])
        job.check()

        def apply(tx: Transaction) -> None:
            for table in kalam.tables():
                tx.drop_relation(table.relation)
                tx.on_commit(functools.partial(kalam.forget_table, table))
            for name in kalam.engine.catalogue.names(TOPIC):
                tx.drop_topic(name)
                tx.on_commit(functools.partial(kalam.topics.forget, name))
            for kind in (*KINDS, MANIFEST):
                for name in kalam.engine.catalogue.names(kind):
                    tx.remove(kind, name)
            for kind in KINDS:
                for name, value in definitions.get(kind, {}).items():
                    tx.put(kind, name, value)
            for name, count in content["counts"].items():
                tx.put(FILES, name, max(count, tx.get(FILES, name) or 0))
            for path in copied:
                tx.remove(FILES, path)
            for table in tables.values():
                tx.create_relation(table.relation, table.schema, owned=table.owned)
            for entry, data in rows:
                table = tables[entry["table"]]
                tx.insert(table.relation, data.cast(table.schema.arrow), owner=entry["owner"])
            for said, data in messages:
                restore_topic(tx, definitions[TOPIC][said["name"]], said, data)

        kalam.engine.transact(apply)
        wanted = {(e["table"], e["owner"], p) for e in content["rows"] for p in e["files"]}
        for where, (files, path) in before.items():
            if where not in wanted:
                files.delete_file(path)
        return f"Restore completed: {len(tables)} table(s), {len(messages)} topic(s)"

    def _stored_now(self) -> dict[tuple[str, str, str], tuple[fs.FileSystem, str]]:
        """Segments and files of all tables: where each is, by table, owner and path in its directory."""
        storages = self._kalam.storages
        found: dict[tuple[str, str, str], tuple[fs.FileSystem, str]] = {}
        for table, owner in self._row_sets():
            if not storages.may_hold(table):
                continue
            files, directory = storages.of_table(table), storages.table_path(table, owner)
            for path in _uploaded(files, directory):
                found[table.qualified, owner, path] = files, f"{directory}/{path}"
            for segment in storages.manifest(table, owner)["segments"]:
                found[table.qualified, owner, segment["path"]] = files, segment["path"]
        return found

    def _copy_in(
        self,
        job: Job,
        source: Path,
        entries: list[dict[str, Any]],
        tables: Mapping[str, TableDef],
        records: Mapping[str, dict[str, Any]],
    ) -> list[str]:
        """Copy files into their storages that are not there; return their paths."""
        storages, engine = self._kalam.storages, self._kalam.engine
        copied: list[str] = []
        for entry in entries:
            if not entry["files"]:
                continue
            job.progress(f"Restoring files of {entry['table']}")
            table = tables[entry["table"]]
            record = records[str(table.options.get("storage_id", LOCAL))]
            files = storages.open(record)
            directory = storages.path_in(record, table, entry["owner"])
            for path in entry["files"]:
                target = f"{directory}/{path}"
                if files.get_file_info(target).type == fs.FileType.File:
                    continue
                check_inside(files, target)
                note = {"storage_id": record["storage_id"]}
                engine.transact(functools.partial(Transaction.put, kind=FILES, name=target, value=note))
                files.create_dir(target.rpartition("/")[0], recursive=True)
                with (
                    (source / "files" / entry["name"] / path).open("rb") as given,
                    files.open_output_stream(target) as out,
                ):
                    shutil.copyfileobj(given, out, 1 << 20)
                copied.append(target)
        return copied


def _uploaded(files: fs.FileSystem, directory: str) -> Iterator[str]:
    """Paths of uploaded files below a row set's directory."""
    for info in stored_files(files, directory):
        path = info.path.removeprefix(f"{directory}/")
        if path.count("/") == 1 and is_file_folder(path.split("/")[0]):
            yield path


def _named_files(table: TableDef, snapshot: Snapshot) -> set[tuple[str, str]]:
    """(folder, id) of every file that a row names. A FILE column is text: what is no FileRef names none."""
    found: set[tuple[str, str]] = set()
    columns = [c.name for c in table.columns if c.type == FILE]
    for batch in snapshot.batches() if columns else ():
        for name in columns:
            for text in batch.column(name).drop_null().to_pylist():
                try:
                    reference = orjson.loads(text)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(reference, dict):
                    found.add((str(reference.get("sub")), str(reference.get("id"))))
    return found
