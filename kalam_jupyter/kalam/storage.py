"""Storages: where flushed segments, files, backups and exports live.

A storage is a `pyarrow.fs` file system under a base path: a directory, or a bucket of S3, GCS or Azure. Paths
inside it come from the storage's templates; every part that users choose is escaped, so no name leads out of
it, and no symbolic link is followed out of it (`is_inside`).
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote as url_quote

import orjson
from pyarrow import fs

from kalam_jupyter.kalam.catalog import FILES, MANIFEST, STORAGE, TABLE, TableDef
from kalam_jupyter.kalam.errors import StatementError

if TYPE_CHECKING:
    from kalam_jupyter.kalam.database import Kalam

LOCAL = "local"
_PROBE = "kalam-storage-check"
#: Behind the names of files that are not whole.
TEMPORARY = ".tmp"


def path_part(text: str) -> str:
    """Return `text` as one harmless part of a path."""
    escaped = url_quote(text, safe="")
    return escaped.replace(".", "%2E") if not escaped.strip(".") else escaped


class Storages:
    """The storages of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._opened: dict[str, tuple[Any, fs.FileSystem]] = {}

    @property
    def base(self) -> Path:
        """Directory of the `local` storage: beside the engine's files, or temporary when it is in memory."""
        configured = self._kalam.config.data_dir
        if configured is not None:
            path = Path(configured)
        elif (engine_path := self._kalam.engine.path) is not None:
            path = Path(engine_path) / "storage"
        else:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="kalam-")
            path = Path(self._temporary.name)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    @property
    def has_base(self) -> bool:
        """Whether the local directory can hold something from before."""
        return self._kalam.config.data_dir is not None or self._kalam.engine.path is not None

    @staticmethod
    def local_record(now_ms: int) -> dict[str, Any]:
        """Return the record of the storage that is always there."""
        return record(LOCAL, "filesystem", {"name": "Local Filesystem"}, now_ms)

    def get(self, storage_id: str) -> dict[str, Any]:
        """Return a storage's record; StatementError if there is none."""
        found: dict[str, Any] | None = self._kalam.engine.catalogue.get(STORAGE, storage_id)
        if found is None:
            raise StatementError("invalid_operation", f"Storage '{storage_id}' not found")
        return found

    def open(self, storage: dict[str, Any]) -> fs.FileSystem:
        """Return the file system of a storage, rooted at its base.

        Raises
        ------
        StatementError
            If its settings make no file system.
        """
        cached = self._opened.get(storage["storage_id"])
        if cached is not None and cached[0] is storage:
            return cached[1]
        try:
            found = _OPENERS[storage["storage_type"]](self, storage)
        except (ValueError, OSError, TypeError, KeyError) as error:
            raise StatementError(
                "invalid_operation", f"Storage '{storage['storage_id']}' cannot be opened: {error}"
            ) from None
        self._opened[storage["storage_id"]] = (storage, found)
        return found

    @staticmethod
    def id_of(table: TableDef) -> str:
        """Return the storage of a table's segments and files."""
        return str(table.options.get("storage_id", LOCAL))

    def of_table(self, table: TableDef) -> fs.FileSystem:
        """Return the file system a table's segments and files are in."""
        return self.open(self.get(self.id_of(table)))

    def table_path(self, table: TableDef, owner: str) -> str:
        """Return the directory of a table (of one owner) inside its storage."""
        return self.path_in(self.get(self.id_of(table)), table, owner)

    @staticmethod
    def path_in(storage: dict[str, Any], table: TableDef, owner: str) -> str:
        """Return the directory of a table (of one owner) inside a storage."""
        template = storage["user_tables_template" if table.owned else "shared_tables_template"]
        values = {
            "{namespace}": path_part(table.namespace),
            "{tableName}": path_part(table.name),
            "{userId}": path_part(owner),
            "{shard}": "0",
        }
        for name, value in values.items():
            template = template.replace(name, value)
        return str(template).strip("/")

    def check(self, storage: dict[str, Any]) -> dict[str, Any]:
        """Try to write, read, list and delete; return what works, and the first error."""
        found: dict[str, Any] = dict.fromkeys(("readable", "writable", "listable", "deletable"), False)
        found["error"] = None
        started = time.perf_counter()
        try:
            files = self.open(storage)
            with files.open_output_stream(_PROBE) as out:
                out.write(b"kalam")
            found["writable"] = True
            with files.open_input_stream(_PROBE) as source:
                found["readable"] = source.read() == b"kalam"
            names = files.get_file_info(fs.FileSelector("", recursive=False))
            found["listable"] = any(i.base_name == _PROBE for i in names)
            files.delete_file(_PROBE)
            found["deletable"] = True
        except (OSError, StatementError) as error:
            found["error"] = str(error)
        found["latency_ms"] = int((time.perf_counter() - started) * 1000)
        return found

    # ---- what is stored

    def manifest(self, table: TableDef, owner: str) -> dict[str, Any]:
        """Return the manifest of a table (of one owner): its segments and how far they reach."""
        found = self._kalam.engine.catalogue.get(MANIFEST, manifest_key(table, owner))
        return found or {"owner": owner, "segments": [], "last_seq": 0, "next": 0, "updated_at": 0}

    def manifests(self, visible: Callable[[str, str, str], bool] = lambda *_: True) -> list[tuple[Any, ...]]:
        """Return the rows of `system.manifest`.

        Parameters
        ----------
        visible : callable
            Says of (namespace, table, owner) whether it is to be seen.
        """
        rows = []
        for key, value in self._kalam.engine.catalogue.items(MANIFEST):
            namespace, name = key.split("/")[0].split(".")
            if not visible(namespace, name, value["owner"]):
                continue
            scope = value["owner"] or "shared"
            etag = f"{value['next']}-{value['last_seq']}"
            text = orjson.dumps(value).decode()
            refreshed = value["updated_at"]
            rows.append((key, namespace, name, scope, etag, refreshed, refreshed, True, "in_sync", text))
        return rows

    def segments(self, table: TableDef) -> list[dict[str, Any]]:
        """Return the flushed segments of a table, of all owners."""
        prefix = f"{table.qualified}/"
        items = self._kalam.engine.catalogue.items(MANIFEST)
        return [s for key, value in items if key.startswith(prefix) for s in value["segments"]]

    def owners(self, table: TableDef) -> list[str]:
        """Return the owners whose rows of a table have a manifest."""
        prefix = f"{table.qualified}/"
        items = self._kalam.engine.catalogue.items(MANIFEST)
        return [value["owner"] for key, value in items if key.startswith(prefix)]

    def may_hold(self, table: TableDef) -> bool:
        """Whether segments or files of a table can be in its storage."""
        counted = self._kalam.engine.catalogue.get(FILES, f"count:{table.qualified}")
        return counted is not None or bool(self.owners(table))

    def users_of(self, storage_id: str) -> int:
        """Return how many tables use a storage."""
        records = (value for _, value in self._kalam.engine.catalogue.items(TABLE))
        return sum(r["options"].get("storage_id") == storage_id for r in records)

    def close(self) -> None:
        """Remove what was only temporary."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


def manifest_key(table: TableDef, owner: str) -> str:
    """Return the catalogue name of a manifest."""
    return f"{table.qualified}/{path_part(owner)}"


def record(storage_id: str, kind: str, options: dict[str, str], now_ms: int) -> dict[str, Any]:
    """Return a storage record: the columns of `system.storages`."""
    base = options.get("path") or options.get("bucket") or ""
    config = _object(options.get("config"), "CONFIG")
    if "region" in options:
        config["region"] = options["region"]
    if options.get("bucket") and options.get("path"):
        base = f"{options['bucket']}/{options['path'].strip('/')}"
    _object(options.get("credentials"), "CREDENTIALS")
    return {
        "storage_id": storage_id,
        "storage_name": options.get("name", storage_id),
        "description": options.get("description"),
        "storage_type": kind,
        "base_directory": base,
        "credentials": options.get("credentials"),
        "config_json": orjson.dumps(config).decode() if config else None,
        "shared_tables_template": options.get("shared_tables_template", "{namespace}/{tableName}"),
        "user_tables_template": options.get("user_tables_template", "{namespace}/{tableName}/{userId}"),
        "created_at": now_ms,
        "updated_at": now_ms,
    }


def _object(text: str | None, what: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        found = orjson.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StatementError("invalid_operation", f"{what} must be a JSON object")
    return found


def is_inside(files: fs.FileSystem, path: str) -> bool:
    """Whether a path of a storage stays in it: symbolic links in a directory may lead elsewhere."""
    if not isinstance(files.base_fs, fs.LocalFileSystem):
        return True
    base = Path(files.base_path).resolve()
    return (base / path).resolve().is_relative_to(base)


def check_inside(files: fs.FileSystem, path: str) -> None:
    """Raise `StatementError` if a link leads from a path of a storage out of it."""
    if not is_inside(files, path):
        raise StatementError("execution", f"'{path}' leads out of its storage")


def stored_files(files: fs.FileSystem, directory: str, *, recursive: bool = True) -> Iterator[fs.FileInfo]:
    """Yield the files below a directory of a storage; none if it is not there, and none outside."""
    selector = fs.FileSelector(directory, allow_not_found=True, recursive=recursive)
    for info in files.get_file_info(selector):
        if info.type == fs.FileType.File and is_inside(files, info.path):
            yield info


@contextlib.contextmanager
def whole_file(files: fs.FileSystem, path: str) -> Iterator[Any]:
    """Open a file for writing that is there under its name only when it is whole.

    In a bucket an object is there when it was sent, and not every kind of bucket can rename one.
    """
    local = isinstance(files.base_fs, fs.LocalFileSystem)
    written = path + TEMPORARY if local else path
    check_inside(files, written)
    files.create_dir(path.rpartition("/")[0], recursive=True)
    try:
        with files.open_output_stream(written) as out:
            yield out
        if local:
            files.move(written, path)
    except BaseException:
        with contextlib.suppress(OSError):
            files.delete_file(written)
        raise


def _rooted(files: fs.FileSystem, base: str) -> fs.FileSystem:
    return fs.SubTreeFileSystem(base.strip("/"), files)


def directory(storages: Storages, storage: dict[str, Any]) -> Path:
    """Return the directory of a filesystem storage; a relative path is below the local one."""
    return storages.base / str(storage["base_directory"])


def _filesystem(storages: Storages, storage: dict[str, Any]) -> fs.FileSystem:
    base = directory(storages, storage)
    base.mkdir(parents=True, exist_ok=True)
    return fs.SubTreeFileSystem(str(base), fs.LocalFileSystem())


def _bucket(storage: dict[str, Any], scheme: str) -> str:
    base = str(storage["base_directory"]).removeprefix(f"{scheme}://").strip("/")
    if not base:
        raise ValueError("BUCKET is missing")
    return base


def _s3(storages: Storages, storage: dict[str, Any]) -> fs.FileSystem:
    secrets, config = _settings(storage)
    scheme, authority = _endpoint(config.get("endpoint"))
    files = fs.S3FileSystem(
        access_key=secrets.get("access_key_id"),
        secret_key=secrets.get("secret_access_key"),
        session_token=secrets.get("session_token"),
        region=config.get("region"),
        scheme=scheme or ("http" if config.get("allow_http") else "https"),
        endpoint_override=authority,
        connect_timeout=10,
        request_timeout=60,
    )
    return _rooted(files, _bucket(storage, "s3"))


def _gcs(storages: Storages, storage: dict[str, Any]) -> fs.FileSystem:
    """Who calls is said by CREDENTIALS ``{"anonymous": true}``, else by the server's own environment."""
    secrets, config = _settings(storage)
    if set(secrets) - {"anonymous"}:
        raise ValueError("the credentials of GCS are those GOOGLE_APPLICATION_CREDENTIALS names")
    scheme, authority = _endpoint(config.get("endpoint"))
    files = fs.GcsFileSystem(
        anonymous=bool(secrets.get("anonymous", config.get("anonymous", False))),
        scheme=scheme or config.get("scheme", "https"),
        endpoint_override=authority,
        retry_time_limit=timedelta(seconds=30),
    )
    return _rooted(files, _bucket(storage, "gs"))


def _azure(storages: Storages, storage: dict[str, Any]) -> fs.FileSystem:
    secrets, config = _settings(storage)
    if "account_name" not in secrets:
        raise ValueError("CREDENTIALS need 'account_name'")
    places: dict[str, str] = {}
    for service, key in (("blob", "endpoint"), ("dfs", "dfs_endpoint")):
        scheme, authority = _endpoint(config.get(key, config.get("endpoint")))
        if authority is not None:
            places[f"{service}_storage_authority"] = authority
            places[f"{service}_storage_scheme"] = scheme or "https"
    files = fs.AzureFileSystem(
        account_name=secrets["account_name"], account_key=secrets.get("account_key"), **places
    )
    return _rooted(files, _bucket(storage, "az"))


def _settings(storage: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a storage's credentials and configuration."""
    return _object(storage["credentials"], "CREDENTIALS"), _object(storage["config_json"], "CONFIG")


def _endpoint(text: Any) -> tuple[str | None, str | None]:
    """Return scheme and authority of an endpoint, which may be a URL or an authority alone."""
    if text is None:
        return None, None
    scheme, slashes, authority = str(text).rstrip("/").partition("://")
    return (scheme, authority) if slashes else (None, scheme)


_OPENERS = {"filesystem": _filesystem, "s3": _s3, "gcs": _gcs, "azure": _azure}
