"""Push queries over HTTP from our own server: Arrow, read by a thread."""

from __future__ import annotations

import contextlib
import http.client
import threading

import numpy as np
import orjson
import pyarrow as pa

from kalam_jupyter.changes import INSERT, Changes
from kalam_jupyter.client.buffered import BufferedStream
from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.client.wire import OpenAnswer
from kalam_server.frames import BEHIND_KEY, KINDS_KEY, RESULT_KEY
from kalam_server.negotiate import ARROW

_READ_ERRORS = (OSError, http.client.HTTPException, pa.ArrowInvalid, ValueError, AttributeError)


def open_stream(opened: OpenAnswer, sql: str) -> ArrowStream | LineStream:
    """Return the stream of an answer to ``/query-stream``; a PRINT is lines, anything else Arrow."""
    return ArrowStream(opened, sql) if opened.content_type == ARROW else LineStream(opened, sql)


class ReadStream(BufferedStream):
    """A response body read by a daemon thread."""

    dialect = "ksql"
    kind = "push"

    def __init__(self, opened: OpenAnswer, sql: str) -> None:
        super().__init__(sql)
        self._opened = opened

    def _start(self) -> None:
        threading.Thread(target=self._run, name=f"stream-{self.id}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._read()
        except _READ_ERRORS as error:
            # A read that `close` cut off ends in one of these as well; `_end` is then too late to matter.
            self._end(error=self._opened.lost(error))
        finally:
            with contextlib.suppress(*_READ_ERRORS):
                self._opened.connection.close()

    def _read(self) -> None:
        raise NotImplementedError

    def _abort(self) -> None:
        self._opened.abort()


class ArrowStream(ReadStream):
    """Rows of a query as `kalam_server.frames.FrameWriter` sends them.

    Attributes
    ----------
    kind : {"push", "pull", "stream_pull"}
    """

    def __init__(self, opened: OpenAnswer, sql: str) -> None:
        super().__init__(opened, sql)
        try:
            self._reader = pa.ipc.open_stream(pa.PythonFile(opened.response, mode="r"))
        except _READ_ERRORS as error:
            raise opened.lost(error) from error
        info = orjson.loads(self._reader.schema.metadata[RESULT_KEY])
        self.id, self.kind, self.key = info["id"], info["kind"], tuple(info["key"])
        self.schema = self._reader.schema.remove_metadata()
        self._start()

    def _read(self) -> None:
        while not self._ended:
            try:
                batch, metadata = self._reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                self._end(error=self._opened.lost())
                return
            if metadata is not None and RESULT_KEY in metadata:
                self._finish(orjson.loads(metadata[RESULT_KEY]))
                return
            assert metadata is not None
            if batch.num_rows:
                kinds = np.frombuffer(metadata[KINDS_KEY], np.int8)
                self._push(Changes(batch.replace_schema_metadata(None), kinds))
                self._wait_for_room()
            if BEHIND_KEY in metadata:
                self._said(int(metadata[BEHIND_KEY]))

    def _finish(self, info: dict[str, object]) -> None:
        error = info["error"]
        failure = None
        if isinstance(error, dict):
            failure = ClientError(error["message"], code=str(error["error_code"]))
        self._end(str(info["message"] or ""), failure)


class LineStream(ReadStream):
    """The records of a PRINT, a line each; an empty one says that these are all there are now."""

    kind = "print"
    schema = pa.schema([("RECORD", pa.string())])

    def __init__(self, opened: OpenAnswer, sql: str) -> None:
        super().__init__(opened, sql)
        self.id = "print"
        self._start()

    def _read(self) -> None:
        while line := self._opened.response.readline():
            text = line.decode(errors="replace").rstrip("\n")
            if text:
                batch = pa.RecordBatch.from_arrays([pa.array([text])], schema=self.schema)
                self._push(Changes(batch, np.full(1, INSERT, np.int8)))
                self._wait_for_room()
            else:
                self._said(0)
        self._end()
