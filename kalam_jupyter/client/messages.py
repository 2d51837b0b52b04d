"""Messages of a topic, as a consumer group takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True)
class Message:
    """One message of a topic.

    Attributes
    ----------
    topic : str
    partition, offset : int
    key : str or None
    payload : bytes
    timestamp_ms : int
        Milliseconds since the Unix epoch.
    user : str or None
        Owner of the row, where the source is a USER or STREAM table.
    op : {"insert", "update", "delete"}
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    payload: bytes
    timestamp_ms: int
    user: str | None
    op: str

    @property
    def value(self) -> Any:
        """The payload, which tables write as JSON, decoded.

        Raises
        ------
        ValueError
            If it is no JSON.
        """
        return orjson.loads(self.payload)

    @classmethod
    def of_wire(cls, body: Mapping[str, Any]) -> Message:
        """Return a message of an answer of ``/v1/api/topics/consume``."""
        from base64 import b64decode

        return cls(
            body["topic_id"],
            body["partition_id"],
            body["offset"],
            body["key"],
            b64decode(body["payload"]),
            body["timestamp_ms"],
            body.get("user"),
            body["op"].lower(),
        )
