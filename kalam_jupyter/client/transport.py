"""What a transport must do: the seam between `Connection` and where the engine is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from kalam_jupyter.client.files import Outgoing
    from kalam_jupyter.client.messages import Message
    from kalam_jupyter.client.result import Result
    from kalam_jupyter.client.stream import Stream
    from kalam_jupyter.ksql.plan.graph import TopologyData


class Transport(Protocol):
    """Carries statements to an engine and results back. Every method may be called from any thread.

    Attributes
    ----------
    target : str
        Where it leads, for people: a URL, or ``embedded`` or ``embedded:PATH``.
    """

    target: str

    def ksql_statements(
        self, text: str, properties: Mapping[str, Any], variables: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Run statements that are not queries; return the entities of ``POST /ksql``."""

    def ksql_query(self, text: str, properties: Mapping[str, Any], variables: Mapping[str, str]) -> Result:
        """Run one SELECT or PRINT; the result is of kind ``rows`` or ``stream``."""

    def ksql_topology(
        self, query: str, properties: Mapping[str, Any], variables: Mapping[str, str]
    ) -> TopologyData:
        """Return a ksqlDB query, by its id or its statement, as a graph."""

    def kalam(self, text: str, params: Sequence[Any], namespace: str) -> list[Result]:
        """Run KalamDB statements."""

    def kalam_table(self, name: str, namespace: str) -> pa.Table:
        """Return all rows of a KalamDB table, however many."""

    def kalam_upload(
        self, text: str, params: Sequence[Any], namespace: str, files: Mapping[str, Outgoing]
    ) -> list[Result]:
        """Run one KalamDB statement whose FILE() placeholders stand for files."""

    def read_file(self, namespace: str, table: str, folder: str, file_id: str) -> bytes:
        """Return the content of a stored file."""

    def live(self, sql: str, options: Mapping[str, int] | None) -> Stream:
        """Start a live query; options as in KalamDB's subscribe message, None: without rows to begin with."""

    def consume(
        self, topic: str, group: str, start: str | int, limit: int, partition: int, timeout: float
    ) -> list[Message]:
        """Take the next messages of a consumer group, and claim them."""

    def acknowledge(self, topic: str, group: str, partition: int, upto: int) -> None:
        """Commit what a group is done with, up to an offset and with it."""

    def stream_table(self, name: str, table: pa.Table, key: str | None, timestamp: str | None) -> int:
        """Append the rows of `table` to stream `name`, declaring it when it is not there."""

    def close(self) -> None:
        """Let go of everything; streams that are open end."""
