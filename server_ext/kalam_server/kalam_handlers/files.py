"""Downloads: stored files and exports."""

from __future__ import annotations

import mimetypes
from typing import Any

from kalam_server.kalam_handlers.sql import SqlRoute


class DownloadRoute(SqlRoute):
    """A route that hands out bytes."""

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """See `KalamRoute.envelope`: what is not there is answered in a shape of its own."""
        from kalam_jupyter.kalam import KalamError

        if isinstance(error, KalamError) and error.status == 404:
            body = {"error": error.message}
            if error.code in ("FILE_NOT_FOUND", "EXPORT_NOT_FOUND"):
                body["code"] = error.code
            return 404, body
        return super().envelope(error)

    def send_bytes(self, data: bytes, mime: str, disposition: str, name: str) -> None:
        """Finish with a file. A stored page must never run as one of this server's own."""
        safe = name.replace("\\", "_").replace('"', "_")
        self.set_header("Content-Type", mime)
        self.set_header("Content-Disposition", f'{disposition}; filename="{safe}"')
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(data)


class FileHandler(DownloadRoute):
    """``GET /v1/files/{namespace}/{table}/{subfolder}/{file_id}``."""

    async def get(self, namespace: str, table: str, subfolder: str, file_id: str) -> None:
        """Return a stored file."""
        owner = self.get_query_argument("user_id", None)
        name, data = await self.context.run_as(
            self.caller,
            lambda node, session: node.kalam.read_file(
                session, namespace, table, subfolder, file_id, user_id=owner
            ),
        )
        mime, _ = mimetypes.guess_type(name)
        self.send_bytes(data, mime or "application/octet-stream", "inline", name)


class ExportHandler(DownloadRoute):
    """``GET /v1/exports/{user_id}/{export_id}``."""

    async def get(self, user_id: str, export_id: str) -> None:
        """Return an export as ZIP."""
        data = await self.context.run_as(
            self.caller, lambda node, session: node.kalam.read_export(session, user_id, export_id)
        )
        self.send_bytes(data, "application/zip", "attachment", f"{export_id}.zip")
