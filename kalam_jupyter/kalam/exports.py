"""EXPORT USER DATA: a ZIP of everything a user owns."""

from __future__ import annotations

import secrets
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pyarrow import fs

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.engine.types import STRING
from kalam_jupyter.kalam.auth import Session
from kalam_jupyter.kalam.catalog import JOB
from kalam_jupyter.kalam.errors import KalamError, StatementError
from kalam_jupyter.kalam.files import is_file_folder
from kalam_jupyter.kalam.jobs import Job
from kalam_jupyter.kalam.result import Result, ResultColumn
from kalam_jupyter.kalam.serialize import RowEncoder
from kalam_jupyter.kalam.storage import path_part, stored_files
from kalam_jupyter.kalam.types import TIMESTAMP

if TYPE_CHECKING:
    from kalam_jupyter.kalam.context import Context
    from kalam_jupyter.kalam.database import Kalam

_SHOWN = (
    ResultColumn("job_id", STRING),
    ResultColumn("status", STRING),
    ResultColumn("created_at", TIMESTAMP),
    ResultColumn("message", STRING),
    ResultColumn("download_url", STRING),
)


class Exports:
    """The exports of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam

    def _path(self, user_id: str, export_id: str) -> Path:
        return self._kalam.storages.base / "exports" / path_part(user_id) / f"{path_part(export_id)}.zip"

    def start(self, tx: Transaction, user_id: str) -> str:
        """Queue an export job; return its id."""
        export_id = f"export-{secrets.token_hex(8)}"
        parameters = {"user_id": user_id, "export_id": export_id}
        return self._kalam.jobs.start(
            tx, "UE", "user_export", parameters, lambda job: self._write(job, user_id, export_id)
        )

    def _write(self, job: Job, user_id: str, export_id: str) -> str:
        path = self._path(user_id, export_id)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(".part")
        try:
            said = self._write_archive(job, user_id, partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return said

    def _write_archive(self, job: Job, user_id: str, path: Path) -> str:
        kalam = self._kalam
        rows = tables = 0
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for table in kalam.tables():
                if table.type != "user":
                    continue
                job.progress(f"Exporting {table.qualified}")
                try:
                    table, snapshot = kalam.current(table, user_id)
                except StatementError:  # dropped meanwhile
                    continue
                encode = RowEncoder.of(table.schema).object
                found = [r for r in snapshot.rows() if not r[table.seq_index + 1]]
                if found:
                    lines = b"".join(orjson.dumps(encode(row)) + b"\n" for row in found)
                    archive.writestr(f"{table.namespace}/{table.name}.jsonl", lines)
                    rows, tables = rows + len(found), tables + 1
                files, directory = kalam.storages.of_table(table), kalam.storages.table_path(table, user_id)
                self._add_files(archive, files, directory, f"{table.namespace}/{table.name}")
        return f"Exported {rows} row(s) of {tables} table(s)"

    @staticmethod
    def _add_files(archive: zipfile.ZipFile, files: fs.FileSystem, directory: str, target: str) -> None:
        for info in stored_files(files, directory):
            folder = info.path.rsplit("/", 2)[-2]
            if not is_file_folder(folder):
                continue
            with (
                files.open_input_stream(info.path) as source,
                archive.open(f"{target}/{folder}/{info.base_name}", "w") as out,
            ):
                while piece := source.read(1 << 20):
                    out.write(piece)

    def show(self, ctx: Context) -> Result:
        """Answer SHOW EXPORT: the caller's own exports."""
        rows: list[tuple[Any, ...]] = []
        for job_id, record in self._kalam.engine.catalogue.items(JOB):
            if record["job_type"] != "user_export":
                continue
            parameters = orjson.loads(record["parameters"])
            if parameters["user_id"] != ctx.session.user_id:
                continue
            url = None
            if record["status"] == "completed":
                base = self._kalam.config.base_url.rstrip("/")
                url = f"{base}/v1/exports/{path_part(parameters['user_id'])}/{parameters['export_id']}"
            rows.append((job_id, record["status"], record["created_at"], record["message"], url))
        rows.sort(key=lambda r: -r[2])
        return Result.of_rows(_SHOWN, rows)

    def open(self, session: Session, user_id: str, export_id: str) -> Path:
        """Return the path of a finished export.

        Raises
        ------
        KalamError
            ``PERMISSION_DENIED``, ``INVALID_INPUT`` or ``EXPORT_NOT_FOUND``.
        """
        if session.user_id != user_id and not session.is_admin:
            raise KalamError("PERMISSION_DENIED", "You can only download your own exports", 403)
        export_id = export_id.removesuffix(".zip")
        if not export_id or ".." in export_id or ".." in user_id or set("/\\\0") & set(export_id + user_id):
            raise KalamError("INVALID_INPUT", "Invalid export path")
        path = self._path(user_id, export_id)
        if not path.is_file():
            raise KalamError("EXPORT_NOT_FOUND", "Export not found", 404)
        return path
