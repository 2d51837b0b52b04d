"""Storages: where flushed segments, files, backups and exports live."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalam_jupyter.kalam.catalog import TableDef

if TYPE_CHECKING:
    from kalam_jupyter.kalam.database import Kalam


class Storages:
    """The storages of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

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

    def local_record(self, now_ms: int) -> dict[str, Any]:
        """Return the record of the storage that is always there."""
        return {
            "storage_id": "local",
            "storage_name": "Local Filesystem",
            "description": "Default local filesystem storage",
            "storage_type": "filesystem",
            "base_directory": "",
            "credentials": None,
            "config_json": None,
            "shared_tables_template": "{namespace}/{tableName}",
            "user_tables_template": "{namespace}/{tableName}/{userId}",
            "created_at": now_ms,
            "updated_at": now_ms,
        }

    def forget(self, table: TableDef) -> None:
        """Drop what is stored of a table that is gone."""

    def manifests(self) -> list[tuple[Any, ...]]:
        """Return the rows of `system.manifest`."""
        return []

    def segments(self, table: TableDef) -> list[Any]:
        """Return the flushed segments of a table."""
        return []

    def close(self) -> None:
        """Remove what was only temporary."""
        if self._temporary is not None:
            self._temporary.cleanup()
