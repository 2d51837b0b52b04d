"""``POST /inserts-stream``: rows in and acknowledgements out, both at once."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from tornado import web
from tornado.iostream import StreamClosedError

from kalam_server.context import Context
from kalam_server.ksql_handlers.base import SERVER_ERROR, KsqlRoute
from kalam_server.negotiate import DELIMITED, JSON

if TYPE_CHECKING:
    from kalam_jupyter.ksql.inserts import InsertTarget

INVALID_JSON = "Invalid JSON in inserts stream"
INTERNAL = "Error in processing inserts. Check server logs for details."
#: A line longer than this is refused: nothing else bounds what one line may hold in memory.
MAX_LINE = 16 * 1024 * 1024


@web.stream_request_body
class InsertsStreamHandler(KsqlRoute):
    """``POST /inserts-stream``.

    The body is read as it arrives: the first line names the target and is answered with the response
    head at once, every later line is a row and gets its acknowledgement. What arrived together is
    inserted together. The body is not read further until its rows are stored: back-pressure.
    """

    serves = (DELIMITED, JSON)
    favourite = DELIMITED
    media_type: str | None

    def initialize(self, context: Context) -> None:
        """Take the mount's context. A body may also come with a method that is none of ours."""
        super().initialize(context)
        self._buffer = bytearray()
        self._target: InsertTarget | None = None
        self._sequence = 0
        self._ended = self.request.method != "POST"

    async def begin(self) -> None:
        """Take any amount of rows."""
        connection: Any = self.request.connection
        connection.set_max_body_size(2**63 - 1)
        await super().begin()

    async def data_received(self, chunk: bytes) -> None:
        """Take some of the body."""
        if self._ended:
            return
        self._buffer += chunk
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        if len(rest) > MAX_LINE:
            lines.append(b"{")  # cannot be read: refused below
        await self._guarded(lines)

    async def post(self) -> None:
        """The body is complete: take its last line, end the answer."""
        if self._ended:
            return
        await self._guarded([bytes(self._buffer)])
        if self._ended:
            return
        if self._target is None:
            await self._guarded([b"{}"])
            return
        self._end()

    async def _guarded(self, lines: list[bytes]) -> None:
        """Take lines. An exception here would close the connection, so it is answered in place."""
        try:
            await self._take([line for line in lines if line.strip()])
        except StreamClosedError:
            self._ended = True
        except Exception as error:
            # Whatever went wrong, the client gets an answer in the API's form; defects are logged.
            if not self.is_expected(error):
                self.log_exception(type(error), error, error.__traceback__)
            self._ended = True
            if self._target is None:
                self.write_error(500, exc_info=(type(error), error, error.__traceback__))
            else:
                self._refuse_row(SERVER_ERROR, INTERNAL)

    async def _take(self, lines: list[bytes]) -> None:
        if lines and self._target is None:
            await self._open(lines.pop(0))
        if not lines or self._target is None:
            return
        rows, broken = parse_rows(lines)
        stored, error = await self._insert(self._target, rows)
        acknowledgements = [f'{{"status":"ok","seq":{self._sequence + i}}}'.encode() for i in range(stored)]
        self._write_all(acknowledgements)
        self._sequence += stored
        if error is not None:
            self._refuse_row(*error)
        elif broken:
            self._refuse_row(40000, INVALID_JSON)
        else:
            await self.flush()

    async def _open(self, line: bytes) -> None:
        """Read the first line, find the target, send the response head."""
        try:
            arguments = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            self.refuse(f"Invalid JSON in request: {error}", 40000)
        if not isinstance(arguments, dict):
            self.refuse("Invalid JSON in request: expected an object", 40000)
        name = self.text(arguments, "target", required=True)
        self._target = await self.context.service.run(lambda node: node.ksql.insert_target(name))
        self.stream_plainly()
        self.clear_header("Content-Type")
        if self.media_type == JSON:
            self.write(b"[")
        await self.flush()

    async def _insert(
        self, target: InsertTarget, rows: list[dict[str, Any]]
    ) -> tuple[int, tuple[int, str] | None]:
        """Insert rows; return how many were stored, and code and message of the one that was not."""
        from kalam_jupyter.ksql import KsqlError

        def work(_: object) -> tuple[int, tuple[int, str] | None]:
            try:
                target.insert(rows)
            except KsqlError:
                pass
            else:
                return len(rows), None
            for index, row in enumerate(rows):
                try:
                    target.insert([row])
                except KsqlError as error:
                    return index, (error.error_code, error.message)
            return len(rows), None

        return await self.context.service.run(work)

    def _write_all(self, acknowledgements: list[bytes]) -> None:
        if not acknowledgements:
            return
        if self.media_type == JSON:
            self.write((b"," if self._sequence else b"") + b",".join(acknowledgements))
        else:
            self.write(b"\n".join(acknowledgements) + b"\n")

    def _refuse_row(self, code: int, message: str) -> None:
        """Send the error acknowledgement and end the answer; rows that follow are ignored."""
        error = {
            "@type": "InsertError",
            "error_code": code,
            "message": message,
            "status": "error",
            "seq": self._sequence,
        }
        self._write_all([orjson.dumps(error)])
        self._end()

    def _end(self) -> None:
        self._ended = True
        with contextlib.suppress(StreamClosedError):
            if self.media_type == JSON:
                self.write(b"]")
            self.finish()


#: Numbers with a fraction stay exact: a DECIMAL column must not lose digits.
_ROW = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def parse_rows(lines: list[bytes]) -> tuple[list[dict[str, Any]], bool]:
    """Read lines as JSON objects up to the first that is none; say whether there was one."""
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            rows.append(_ROW.decode(line))
        except (msgspec.DecodeError, RecursionError):  # the latter: nested without end
            return rows, True
    return rows, False
