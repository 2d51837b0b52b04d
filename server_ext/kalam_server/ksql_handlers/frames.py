"""``POST /frames/{stream}``: whole Arrow tables into a stream. Ours alone: DataFrames of our own client."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kalam_server.ksql_handlers.base import KsqlRoute

if TYPE_CHECKING:
    import pyarrow as pa

    from kalam_jupyter.node import Node

#: Bytes that a compressed stream may unfold to. A body holds 100 MB, and compresses a thousandfold.
MAX_UNFOLDED = 1 << 30


class FrameHandler(KsqlRoute):
    """``POST /frames/{stream}?key=&timestamp=``: the body is an Arrow IPC stream."""

    async def post(self, name: str) -> None:
        """Append the rows, declaring the stream when it is not there; answer with their number."""
        key = self.get_query_argument("key", None, strip=False)
        timestamp = self.get_query_argument("timestamp", None, strip=False)
        body = self.request.body

        def append(node: Node) -> int | None:
            table = read_stream(body)
            if table is None:
                return None
            try:
                return node.ksql.stream_frame(name, table, key=key, timestamp=timestamp)
            except UnicodeDecodeError:  # in a column's name
                return None

        rows = await self.context.service.run(append)
        if rows is None:
            self.refuse("The body is not an Arrow IPC stream", 40000)
        self.send_json({"rows": rows})


def read_stream(data: bytes) -> pa.Table | None:
    """Return the table of an Arrow IPC stream; None if it is none, or not what it says.

    Arrow believes offsets and lengths: wrong ones would have it read memory that is not the body's.

    Raises
    ------
    RequestError
        If it is compressed, and much too large otherwise.
    """
    import pyarrow as pa

    from kalam_jupyter.ksql.errors import RequestError

    try:
        if unfolded(data) > MAX_UNFOLDED:
            raise RequestError(f"The body unfolds to more than {MAX_UNFOLDED} bytes")
        with pa.ipc.open_stream(data) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError, struct.error):
        return None
    return table


def unfolded(data: bytes) -> int:
    """Return how many bytes the compressed buffers of an Arrow IPC stream say they unfold to.

    Arrow takes that memory as it reads a message. Source: Arrow's `Message.fbs` and `Schema.fbs`.
    """
    import pyarrow as pa

    total = 0
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(data)):
        if message.type not in ("record batch", "dictionary"):
            continue
        head, body = message.metadata.to_pybytes(), memoryview(message.body)
        batch = _field(head, _indirect(head, 0), 2)  # Message.header
        if batch and message.type == "dictionary":
            batch = _field(head, _indirect(head, batch), 1)  # DictionaryBatch.data
        at = _indirect(head, batch)
        buffers = _field(head, at, 2)  # RecordBatch.buffers
        if not buffers or not _field(head, at, 3):  # RecordBatch.compression
            continue
        start = _indirect(head, buffers)
        (count,) = struct.unpack_from("<I", head, start)
        for offset, length in struct.iter_unpack("<qq", head[start + 4 : start + 4 + 16 * count]):
            if length:
                total += max(0, *struct.unpack_from("<q", body, offset))  # -1: not compressed after all
    return total


def _indirect(head: bytes, at: int) -> int:
    """Return where an offset of a FlatBuffer points."""
    target: int = at + struct.unpack_from("<I", head, at)[0]
    return target


def _field(head: bytes, table: int, index: int) -> int:
    """Return where a field of a FlatBuffer's table is; 0 if it is not there."""
    entries = table - struct.unpack_from("<i", head, table)[0]
    if struct.unpack_from("<H", head, entries)[0] < 6 + 2 * index:
        return 0
    offset = struct.unpack_from("<H", head, entries + 4 + 2 * index)[0]
    return table + offset if offset else 0
