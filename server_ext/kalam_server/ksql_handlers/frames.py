"""``POST /frames/{stream}``: whole Arrow tables into a stream. Ours alone: DataFrames of our own client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kalam_server.ksql_handlers.base import KsqlRoute

if TYPE_CHECKING:
    import pyarrow as pa

    from kalam_jupyter.node import Node


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
    """
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(data) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return None
    return table
