"""WebSocket frames. What is the same for all subscribers who get a message is made once.

A message about a subscription begins with the subscription's id, which differs; the rest, its tail, does
not. A frame is the two one behind the other. That holds compressed as well: the gzip stream of a message is
its beginning in a stored block, then the deflated tail, then the checksum of both.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from kalam_jupyter.kalam.live_message import message_head
from kalam_server.kalam_handlers.ws_messages import COMPRESS_FROM, GZIP_LEVEL, FrameEncoder

if TYPE_CHECKING:
    from kalam_jupyter.kalam.live_message import LiveMessage

TEXT, BINARY = 0x81, 0x82
_GZIP_HEADER = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 255])
_pack = msgspec.msgpack.Encoder().encode


def frame(payload: str | bytes) -> bytes:
    """Return an unfragmented, unmasked frame: text for str, binary for bytes (RFC 6455, section 5.2)."""
    if isinstance(payload, str):
        data = payload.encode()
        return _header(TEXT, len(data)) + data
    return _header(BINARY, len(payload)) + payload


def _header(opcode: int, size: int) -> bytes:
    if size < 126:
        return bytes((opcode, size))
    if size < 65_536:
        return bytes((opcode, 126, size >> 8, size & 255))
    return bytes((opcode, 127)) + size.to_bytes(8, "big")


class Framer:
    """Frames messages about subscriptions, as was negotiated for one connection.

    Parameters
    ----------
    encoder : FrameEncoder
    """

    __slots__ = ("_compress", "_packed")

    def __init__(self, encoder: FrameEncoder) -> None:
        self._compress = encoder.compress
        self._packed = encoder.protocol.serialization == "msgpack"

    def head(self, kind: str, subscription_id: str) -> bytes:
        """Return what differs between the subscribers of a kind of message."""
        if self._packed:
            # the map without its header: how many members it has depends on the message
            return _pack({"type": kind, "subscription_id": subscription_id})[1:]
        return message_head(kind, subscription_id)

    def frame(self, head: bytes, message: LiveMessage) -> bytes:
        """Return the frame of a message, given its head."""
        if self._packed:
            members, tail = _packed_tail(message)
            head = bytes((0x82 + members,)) + head
        else:
            tail = message.json_tail
        size = len(head) + len(tail)
        if size >= COMPRESS_FROM and self._compress:
            compressed = _gzip(head, tail, _deflated(message, tail, self._packed))
            if len(compressed) < size:
                return _header(BINARY, len(compressed)) + compressed
        return _header(BINARY if self._packed else TEXT, size) + head + tail

    def frames(self, subscription_id: str, messages: Iterable[LiveMessage]) -> bytes:
        """Return the frames of messages of any kind."""
        return b"".join([self.frame(self.head(m.kind, subscription_id), m) for m in messages])


def _packed_tail(message: LiveMessage) -> tuple[int, bytes]:
    """Return how many members of the message's map are in its tail, and the tail, as MessagePack."""
    found: tuple[int, bytes] | None = message.forms.get("msgpack")
    if found is None:
        found = message.forms["msgpack"] = (len(message.body), _pack(message.body)[1:])
    return found


def _deflated(message: LiveMessage, tail: bytes, packed: bool) -> bytes:
    name = "deflated msgpack" if packed else "deflated json"
    found: bytes | None = message.forms.get(name)
    if found is None:
        deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        found = message.forms[name] = deflate.compress(tail) + deflate.flush()
    return found


def _gzip(head: bytes, tail: bytes, deflated: bytes) -> bytes:
    """Return ``head + tail`` as one gzip member (RFC 1952), given the raw deflate stream of `tail`."""
    size = len(head)
    stored = struct.pack("<BHH", 0, size, size ^ 0xFFFF)
    checksum = zlib.crc32(tail, zlib.crc32(head))
    return b"".join(
        (_GZIP_HEADER, stored, head, deflated, struct.pack("<II", checksum, (size + len(tail)) & 0xFFFFFFFF))
    )
