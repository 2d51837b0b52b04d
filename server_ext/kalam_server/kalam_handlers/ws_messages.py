"""Messages of ``/v1/ws``: reading the client's, encoding the server's (WebSocket contract 4 to 6)."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

#: Frames shorter than this are never compressed.
COMPRESS_FROM = 512
GZIP_LEVEL = 1

Serialization = Literal["json", "msgpack"]
Compression = Literal["gzip", "none"]


class Protocol(msgspec.Struct, frozen=True):
    """How the server's frames are written."""

    serialization: Serialization
    compression: Compression

    def json(self) -> dict[str, str]:
        """Return the member of ``auth_success``."""
        return {"serialization": self.serialization, "compression": self.compression}


DEFAULT_PROTOCOL = Protocol("json", "gzip")


class Authenticate(msgspec.Struct, tag="authenticate", frozen=True):
    """First message of a client that sent no ``Authorization`` header."""

    method: Literal["jwt"]
    token: str
    protocol: Protocol | None = None


class Options(msgspec.Struct, frozen=True):
    """Options of a subscription; ``from_seq_id`` is an alias of ``from``."""

    batch_size: int | None = None
    last_rows: int | None = None
    from_seq: int | None = msgspec.field(default=None, name="from")
    from_seq_id: int | None = None


class Subscription(msgspec.Struct, frozen=True):
    """What to subscribe to. Without `options` no initial rows are sent."""

    id: str
    sql: str
    options: Options | None = None


class Subscribe(msgspec.Struct, tag="subscribe", frozen=True):
    """Start a live query."""

    subscription: Subscription


class NextBatch(msgspec.Struct, tag="next_batch", frozen=True):
    """Ask for the next initial rows."""

    subscription_id: str
    last_seq_id: int | None = None


class Unsubscribe(msgspec.Struct, tag="unsubscribe", frozen=True):
    """End a live query."""

    subscription_id: str


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Keep the connection alive."""


Message = Authenticate | Subscribe | NextBatch | Unsubscribe | Ping
_JSON = msgspec.json.Decoder(Message)
_MSGPACK = msgspec.msgpack.Decoder(Message)
MalformedError = msgspec.DecodeError
#: The reference's limit on what a compressed client frame may unfold to is that of any message.
_MAX_UNPACKED = 1024 * 1024


def read_text(text: str) -> Message:
    """Read a JSON message.

    Raises
    ------
    MalformedError
    """
    return _decoded(_JSON.decode, text)


def read_binary(data: bytes) -> Message:
    """Read a MessagePack message, perhaps compressed.

    Raises
    ------
    MalformedError
    """
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(_MAX_UNPACKED + 1)
        except (OSError, EOFError) as error:
            raise msgspec.DecodeError(str(error)) from None
        if len(data) > _MAX_UNPACKED:
            raise msgspec.DecodeError("message too large")
    return _decoded(_MSGPACK.decode, data)


def _decoded(decode: Callable[[Any], Message], data: str | bytes) -> Message:
    """Decode a message; refuse negative sizes, which the reference's unsigned fields cannot hold."""
    try:
        message = decode(data)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    if isinstance(message, Subscribe) and (options := message.subscription.options):
        for name, value in (("batch_size", options.batch_size), ("last_rows", options.last_rows)):
            if value is not None and not 0 <= value < 2**32:
                raise msgspec.ValidationError(f"`{name}` must be an unsigned 32-bit number")
    return message


@dataclass
class FrameEncoder:
    """Encodes the frames of one connection.

    Attributes
    ----------
    protocol : Protocol
    compress : bool
        Whether large frames may be compressed (``?compress=false`` says no).
    """

    protocol: Protocol = DEFAULT_PROTOCOL
    compress: bool = True

    def control(self, message: dict[str, Any]) -> str | bytes:
        """Encode a message that is JSON whatever was negotiated."""
        return self.json(msgspec.json.encode(message))

    def json(self, text: bytes) -> str | bytes:
        """Return a text frame, or a compressed binary one when that is smaller."""
        return self._packed(text) or text.decode()

    def _packed(self, data: bytes) -> bytes | None:
        if not self.compress or len(data) < COMPRESS_FROM:
            return None
        packed = gzip.compress(data, GZIP_LEVEL, mtime=0)
        return packed if len(packed) < len(data) else None
