"""Downloads: stored files and exports, streamed, whole or a range of them."""

from __future__ import annotations

import mimetypes
import re
from contextlib import closing, suppress
from functools import partial
from typing import IO, Any

from tornado.iostream import StreamClosedError

from kalam_server.kalam_handlers.sql import SqlRoute

#: Read, and held in memory, at a time.
_PIECE = 512 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


class RangeError(Exception):
    """The range begins behind the end of the file.

    Attributes
    ----------
    size : int
        Bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__("Requested range not satisfiable")


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (start, end) of a ``Range`` header, end excluded; None: the whole file.

    One range of bytes is served (RFC 9110 section 14.2); other units, several ranges and what cannot be
    read are ignored, as the standard has it.

    Raises
    ------
    RangeError
    """
    found = _RANGE.match((header or "").replace(" ", "").lower())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
        if found[2].strip("0") == "":
            raise RangeError(size)
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise RangeError(size)
    return start, end


class DownloadRoute(SqlRoute):
    """A route that hands out bytes."""

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """See `KalamRoute.envelope`: what is not there is answered in a shape of its own."""
        from kalam_jupyter.kalam import KalamError

        if isinstance(error, RangeError):
            self.set_header("Content-Range", f"bytes */{error.size}")
            return 416, {"error": str(error), "code": "RANGE_NOT_SATISFIABLE"}
        if isinstance(error, KalamError) and error.status == 404:
            body = {"error": error.message}
            if error.code in ("FILE_NOT_FOUND", "EXPORT_NOT_FOUND"):
                body["code"] = error.code
            return 404, body
        return super().envelope(error)

    def is_expected(self, error: BaseException | None) -> bool:
        """See `Route.is_expected`."""
        return isinstance(error, RangeError) or super().is_expected(error)

    async def send_file(self, source: IO[bytes], mime: str, disposition: str, name: str) -> None:
        """Send a file, or the range of it that is asked for, piece by piece; close it.

        What is stored never changes, so its name tells versions apart. A stored page must never run as
        one of this server's own.
        """
        run = self.context.service.run
        with closing(source):
            size = await run(lambda _: source.seek(0, 2) or source.tell())
            tag = '"' + re.sub(r"[^!#-~]", "_", name) + '"'
            condition = self.request.headers.get("If-Range")
            asked = self.request.headers.get("Range") if condition in (None, tag) else None
            part = requested_range(asked, size)
            start, end = part or (0, size)
            if part:
                self.set_status(206)
                self.set_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            safe = name.replace("\\", "_").replace('"', "_")
            self.set_header("Accept-Ranges", "bytes")
            self.set_header("ETag", tag)
            self.set_header("Content-Type", mime)
            self.set_header("Content-Length", str(end - start))
            self.set_header("Content-Disposition", f'{disposition}; filename="{safe}"')
            self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
            self.set_header("X-Content-Type-Options", "nosniff")
            self.stream_plainly()
            if self.request.method == "HEAD":
                self.finish()
                return
            await run(lambda _: source.seek(start))
            with suppress(StreamClosedError):
                while start < end:
                    piece = await run(partial(_read, source, min(_PIECE, end - start)))
                    start += len(piece)
                    self.write(piece)
                    await self.flush()
                self.finish()


def _read(source: IO[bytes], count: int, _: object) -> bytes:
    piece = source.read(count)
    if not piece:
        raise OSError("a stored file is shorter than it was")
    return piece


class FileHandler(DownloadRoute):
    """``GET /v1/files/{namespace}/{table}/{subfolder}/{file_id}``."""

    async def get(self, namespace: str, table: str, subfolder: str, file_id: str) -> None:
        """Return a stored file."""
        owner = self.get_query_argument("user_id", None)
        name, source = await self.context.run_as(
            self.caller,
            lambda node, session: node.kalam.files.open(
                session, namespace, table, subfolder, file_id, user_id=owner
            ),
        )
        mime, _ = mimetypes.guess_type(name)
        await self.send_file(source, mime or "application/octet-stream", "inline", name)

    head = get


class ExportHandler(DownloadRoute):
    """``GET /v1/exports/{user_id}/{export_id}``."""

    async def get(self, user_id: str, export_id: str) -> None:
        """Return an export as ZIP."""
        source = await self.context.run_as(
            self.caller, lambda node, session: node.kalam.exports.open(session, user_id, export_id).open("rb")
        )
        await self.send_file(source, "application/zip", "attachment", f"{export_id}.zip")

    head = get
