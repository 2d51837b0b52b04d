"""FILE columns: uploads into a table's storage, and downloads out of it.

An upload goes to disk while it arrives and is moved into the storage only when its statement is about to run;
when the statement fails, or the process dies, what was stored is removed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import re
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import orjson
from pyarrow import fs

from kalam_jupyter.engine.errors import EngineError, LogWriteError
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam import access
from kalam_jupyter.kalam.auth import Session
from kalam_jupyter.kalam.catalog import FILES, TableDef
from kalam_jupyter.kalam.errors import (
    KalamError,
    SqlSyntaxError,
    StatementError,
    failure,
    from_engine,
    redact,
)
from kalam_jupyter.kalam.result import Result
from kalam_jupyter.kalam.statements import nodes, parse_statement
from kalam_jupyter.kalam.storage import check_inside, is_inside
from kalam_jupyter.kalam.tokens import UnterminatedQuoteError, split_statements, tokenize

if TYPE_CHECKING:
    from kalam_jupyter.kalam.database import Kalam

FILES_PER_FOLDER = 5000
_CHUNK = 1 << 20
_FOLDER = re.compile(r"f\d{4}\Z")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
)
_OCTETS = "application/octet-stream"


class Incoming(Protocol):
    """One uploaded file as a server hands it over: its name, declared type and bytes."""

    @property
    def name(self) -> str: ...

    @property
    def mime(self) -> str | None: ...

    @property
    def data(self) -> bytes: ...


class Upload:
    """A file on its way in, written to disk as it comes.

    Attributes
    ----------
    name : str
        File name the client gave.
    mime : str or None
        Type the client declared.
    size : int
    """

    def __init__(self, name: str, mime: str | None, directory: Path, limit: int) -> None:
        self.name, self.mime, self.size = name, mime, 0
        self._limit, self._head, self._digest = limit, b"", hashlib.sha256()
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(dir=directory, prefix="upload-")  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises
        ------
        KalamError
            ``FILE_TOO_LARGE``; ``INTERNAL_ERROR`` if there is no space for it.
        """
        self.size += len(data)
        if self.size > self._limit:
            self.close()
            text = f"File '{self.name}' exceeds maximum size of {self._limit} bytes"
            raise KalamError("FILE_TOO_LARGE", text)
        if len(self._head) < 16:
            self._head += data[:16]
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            self.close()
            raise _not_stored(error) from None

    @property
    def sha256(self) -> str:
        """Digest of what was written, in hex."""
        return self._digest.hexdigest()

    def kind(self) -> str:
        """Return the type: declared, else by content, else by name."""
        if self.mime:
            return self.mime
        if self._head[:4] == b"RIFF" and self._head[8:12] == b"WEBP":
            return "image/webp"
        for magic, kind in _MAGIC:
            if self._head.startswith(magic):
                return kind
        return mimetypes.guess_type(self.name)[0] or _OCTETS

    def copy_to(self, files: fs.FileSystem, path: str) -> None:
        """Copy the content into a storage."""
        self._file.seek(0)
        with files.open_output_stream(path) as out:
            while piece := self._file.read(_CHUNK):
                out.write(piece)

    def close(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):  # of what could not be written in full
            self._file.close()


def slug(name: str) -> str:
    """Return the readable part of a stored file's name."""
    stem = name.rpartition(".")[0] or name
    text = "".join(c.lower() if c.isascii() and c.isalnum() else "-" if c in " _-" else "" for c in stem)[:50]
    return re.sub("-+", "-", text).strip("-")


def extension(name: str) -> str:
    """Return the lower-case extension of a name; ``bin`` for what is none."""
    found = name.rpartition(".")[2].lower() if "." in name else ""
    return found if 0 < len(found) <= 10 and found.isascii() and found.isalnum() else "bin"


def stored_name(identifier: str, name: str) -> str:
    """Return the name a file is stored under."""
    readable = slug(name)
    return f"{identifier}-{readable}.{extension(name)}" if readable else f"{identifier}.{extension(name)}"


def named_file(folder: str, name: str) -> tuple[str, str]:
    """Return folder and id, as a FileRef has them, of a stored file."""
    return folder, re.split("[-.]", name, maxsplit=1)[0]


def is_file_folder(name: str) -> bool:
    """Whether a directory of a table holds uploaded files."""
    return _FOLDER.match(name) is not None


def find_placeholders(sql: str) -> list[tuple[int, int, str]]:
    """Return (start, end, name) of every ``FILE("name")`` or ``FILE('name')`` in a statement."""
    tokens = tokenize(sql)
    found = []
    for a, b, c, d in zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False):
        named = c.kind in ("quoted", "string") and b.text == "(" and d.text == ")"
        if a.kind == "word" and a.text == "FILE" and named:
            found.append((a.start, d.end, c.text))
    return found


def _not_stored(error: Exception) -> KalamError:
    return KalamError("INTERNAL_ERROR", f"Storing files failed: {error}", 500)


class Files:
    """Stored files of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._lock = threading.Lock()
        self._remove_orphans()

    # ---- uploads

    def receive(self, name: str, mime: str | None = None) -> Upload:
        """Begin an upload. Its bytes go to disk as they are written.

        Raises
        ------
        KalamError
            ``INTERNAL_ERROR`` if there is no space for it.
        """
        try:
            directory = self._kalam.storages.base / "incoming"
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Upload(name, mime, directory, self._kalam.config.max_file_size)
        except OSError as error:
            raise _not_stored(error) from None

    def execute(
        self,
        session: Session,
        sql: str,
        files: Mapping[str, Upload | Incoming],
        params: Sequence[Any] = (),
        namespace: str = "default",
    ) -> list[Result]:
        """Run one statement whose FILE() placeholders stand for uploaded files.

        Raises
        ------
        KalamError
            With the codes of the upload route (HTTP contract section 6).
        """
        config = self._kalam.config
        if len(files) > config.max_files_per_request:
            raise KalamError(
                "TOO_MANY_FILES", f"Too many files: maximum {config.max_files_per_request} allowed"
            )
        uploads: dict[str, Upload] = {}
        try:
            for name, given in files.items():
                uploads[name] = given if isinstance(given, Upload) else self._taken(given)
            return self._run(session, sql, uploads, params, namespace)
        except EngineError as error:
            raise failure(from_engine(error), session.role) from None
        finally:
            for upload in uploads.values():
                upload.close()

    def _taken(self, given: Incoming) -> Upload:
        upload = self.receive(given.name, given.mime)
        upload.write(given.data)
        return upload

    def _run(
        self, session: Session, sql: str, uploads: dict[str, Upload], params: Sequence[Any], namespace: str
    ) -> list[Result]:
        execute = self._kalam.execute
        try:
            statements = split_statements(sql)
        except UnterminatedQuoteError:
            statements = []
        if uploads and len(statements) > 1:
            raise KalamError("INVALID_INPUT", "File uploads require a single SQL statement")
        try:
            used = [p for p in find_placeholders(sql) if p[2] in uploads]
        except SqlSyntaxError:
            used = []
        if not used:
            return execute(session, sql, params=params, namespace=namespace, limit=True)
        table, owner = self._target(session, sql, namespace)
        allowed = self._kalam.config.allowed_mime_types
        for _, _, name in used:
            if allowed and not any(_mime_matches(uploads[name].kind(), pattern) for pattern in allowed):
                raise KalamError("INTERNAL_ERROR", f"File type '{uploads[name].kind()}' is not allowed", 500)
        stored = self._store(table, owner, {name: uploads[name] for _, _, name in used})
        text, at = [], 0
        for start, end, name in used:
            reference = orjson.dumps(stored[name][0]).decode().replace("'", "''")
            text += [sql[at:start], f"'{reference}'"]
            at = end
        final = "".join([*text, sql[at:]])
        paths = [path for _, path in stored.values()]

        def keep(tx: Transaction, count: Any) -> None:
            """The files belong to the rows from the moment these are there."""
            if count:
                for path in paths:
                    tx.remove(FILES, path)

        try:
            results = self._kalam.executor.execute(session, final, params, namespace, limit=True, also=keep)
        except BaseException:
            self._discard(table, paths)
            raise
        if not results[0].row_count:
            self._discard(table, paths)
        return results

    def _target(self, session: Session, sql: str, namespace: str) -> tuple[TableDef, str]:
        """Return the table a statement writes, and for whom."""
        role = session.role
        try:
            statement = parse_statement(sql.strip().rstrip(";"))
        except StatementError as error:
            text = f"Failed to parse SQL statement after FILE() substitution: {error.message}"
            raise KalamError("INVALID_SQL", redact("INVALID_SQL", text, role, public=False)) from None
        owner = session.user_id
        if isinstance(statement, nodes.ExecuteAs):
            target = self._kalam.auth.role_of(statement.user)
            if not access.may_act_for(session, statement.user, target):
                raise KalamError("PERMISSION_DENIED", "EXECUTE AS USER is not authorized", 403)
            owner, statement = statement.user, statement.inner
        if not isinstance(statement, (nodes.Insert, nodes.Update)):
            raise KalamError("INVALID_INPUT", "FILE placeholders require an INSERT or UPDATE statement")
        ns, name = (statement.table[0] or namespace or "default").lower(), statement.table[1].lower()
        table = self._kalam.find_table(ns, name)
        if table is None:
            text = f"Table '{ns}:{name}' not found"
            raise KalamError("TABLE_NOT_FOUND", redact("TABLE_NOT_FOUND", text, role, public=False))
        if table.type == "stream":
            raise KalamError("INVALID_INPUT", "File uploads are not supported for stream or system tables")
        try:
            access.check_write(session, table)
        except StatementError as error:
            raise failure(error, role) from None
        return table, owner if table.owned else ""

    def _store(
        self, table: TableDef, owner: str, uploads: Mapping[str, Upload]
    ) -> dict[str, tuple[dict[str, Any], str]]:
        """Copy uploads into the table's storage; return each one's FileRef and path.

        The paths are noted first, and the statement's own transaction takes the notes away: what is still
        noted at the next start belongs to no row.
        """
        storages = self._kalam.storages
        directory, files = storages.table_path(table, owner), storages.of_table(table)
        planned: dict[str, tuple[dict[str, Any], str]] = {}
        for name, upload in uploads.items():
            identifier = str(self._kalam.generators.functions["SNOWFLAKE_ID"]())
            folder = self._folder(table)
            reference = {
                "id": identifier,
                "sub": folder,
                "name": upload.name,
                "size": upload.size,
                "mime": upload.kind(),
                "sha256": upload.sha256,
            }
            planned[name] = (reference, f"{directory}/{folder}/{stored_name(identifier, upload.name)}")
        note = {"storage_id": table.options.get("storage_id", "local")}

        def plan(tx: Transaction) -> None:
            for _, path in planned.values():
                tx.put(FILES, path, note)

        self._kalam.engine.transact(plan)
        try:
            for name, (reference, path) in planned.items():
                check_inside(files, path)
                files.create_dir(f"{directory}/{reference['sub']}", recursive=True)
                uploads[name].copy_to(files, path)
        except (OSError, StatementError) as error:
            self._discard(table, [path for _, path in planned.values()])
            raise _not_stored(error) from None
        return planned

    def _folder(self, table: TableDef) -> str:
        """Return the folder of the table's next file: a new one after 5000 files."""

        def apply(tx: Transaction) -> int:
            count = (tx.get(FILES, f"count:{table.qualified}") or 0) + 1
            tx.put(FILES, f"count:{table.qualified}", count)
            return count

        return f"f{(self._kalam.engine.transact(apply) - 1) // FILES_PER_FOLDER + 1:04d}"

    def _discard(self, table: TableDef, paths: Sequence[str]) -> None:
        files = self._kalam.storages.of_table(table)
        for path in paths:
            if files.get_file_info(path).type == fs.FileType.File and is_inside(files, path):
                files.delete_file(path)
        self._forget(paths)

    def _forget(self, paths: Sequence[str]) -> None:
        """Take the notes of stored files away."""

        def apply(tx: Transaction) -> None:
            for path in paths:
                tx.remove(FILES, path)

        self._kalam.engine.transact(apply)

    def _remove_orphans(self) -> None:
        """Remove files whose statement never ran: the process died in between."""
        engine, storages = self._kalam.engine, self._kalam.storages
        orphans = [(p, note) for p, note in engine.catalogue.items(FILES) if not p.startswith("count:")]
        for path, note in orphans:
            try:
                files = storages.open(storages.get(note["storage_id"]))
                if files.get_file_info(path).type == fs.FileType.File:
                    files.delete_file(path)
                self._forget([path])
            except (OSError, StatementError, LogWriteError):
                continue  # the storage cannot be reached, or the log is full: the next start tries again
        if orphans or (storages.has_base and (storages.base / "incoming").exists()):
            for left in (storages.base / "incoming").glob("upload-*"):
                left.unlink(missing_ok=True)

    # ---- downloads

    def open(
        self,
        session: Session,
        namespace: str,
        table_name: str,
        folder: str,
        file_id: str,
        *,
        user_id: str | None = None,
    ) -> tuple[str, Any]:
        """Return the stored name of a file and a seekable file object; the caller closes it.

        `file_id` is the stored name, or the bare id of the FileRef.

        Raises
        ------
        KalamError
            With the answers of the download route (HTTP contract section 7), checked in its order.
        """
        table = self._kalam.find_table(namespace.lower(), table_name.lower())
        system = namespace.lower() == "system" and self._kalam.system.has(table_name.lower())
        if system or (table is not None and table.type == "stream"):
            text = "File storage is not supported for stream or system tables"
            raise KalamError("INVALID_INPUT", text)
        if table is None:
            raise KalamError("TABLE_NOT_FOUND", f"Table '{namespace}:{table_name}' not found", 404)
        owner = self._reader(session, table, user_id)
        if not is_file_folder(folder) or ".." in file_id or set("/\\\0") & set(file_id):
            raise KalamError("INVALID_INPUT", "Invalid file path")
        files = self._kalam.storages.of_table(table)
        directory = f"{self._kalam.storages.table_path(table, owner)}/{folder}"
        name = _full_name(files, directory, file_id) if file_id.isdigit() else file_id
        if not is_inside(files, f"{directory}/{name or ''}"):
            raise KalamError("INVALID_INPUT", "Invalid file path")
        try:
            if name and files.get_file_info(f"{directory}/{name}").type == fs.FileType.File:
                return name, files.open_input_file(f"{directory}/{name}")
        except OSError:
            pass
        raise KalamError("FILE_NOT_FOUND", "File not found", 404)

    def _reader(self, session: Session, table: TableDef, user_id: str | None) -> str:
        """Return whose files of a table are meant, if the session may read them."""
        if table.type == "shared":
            if not access.may_read_shared(session.role, table.access_level):
                level = table.access_level.capitalize()
                text = f"Shared table access denied (access_level={level})"
                raise KalamError("PERMISSION_DENIED", text, 403)
            if user_id is not None:
                raise KalamError("INVALID_INPUT", "user_id is only valid for user tables")
            return ""
        owner = user_id or session.user_id
        if not access.may_act_for(session, owner, self._kalam.auth.role_of(owner)):
            text = "Requested user is not allowed for the current role"
            raise KalamError("PERMISSION_DENIED", text, 403)
        return owner


def _full_name(files: fs.FileSystem, directory: str, identifier: str) -> str | None:
    """Find the stored name that begins with a bare id."""
    try:
        infos = files.get_file_info(fs.FileSelector(directory, recursive=False))
    except OSError:
        return None
    starts = (f"{identifier}-", f"{identifier}.")
    return next((i.base_name for i in infos if i.base_name.startswith(starts)), None)


def _mime_matches(kind: str, pattern: str) -> bool:
    return kind == pattern or (pattern.endswith("/*") and kind.startswith(pattern[:-1]))
