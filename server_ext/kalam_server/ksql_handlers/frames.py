"""``POST /frames/{stream}``: whole Arrow tables into a stream. Ours alone: DataFrames of our own client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kalam_server.ksql_handlers.base import KsqlRoute

if TYPE_CHECKING:
    from kalam_jupyter.node import Node


class FrameHandler(KsqlRoute):
    """``POST /frames/{stream}?key=&timestamp=``: the body is an Arrow IPC stream."""

    async def post(self, name: str) -> None:
        """Append the rows, declaring the stream when it is not there; answer with their number."""
        key = self.get_query_argument("key", None, strip=False)
        timestamp = self.get_query_argument("timestamp", None, strip=False)
        body = self.request.body

        def append(node: Node) -> int | None:
            import pyarrow as pa

            try:
                with pa.ipc.open_stream(body) as reader:
                    table = reader.read_all()
            except (pa.ArrowInvalid, OSError):
                return None
            return node.ksql.stream_frame(name, table, key=key, timestamp=timestamp)

        rows = await self.context.service.run(append)
        if rows is None:
            self.refuse("The body is not an Arrow IPC stream", 40000)
        self.send_json({"rows": rows})
