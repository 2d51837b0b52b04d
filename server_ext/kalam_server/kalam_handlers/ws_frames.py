"""WebSocket frames of changes. What is the same for all subscribers of a change is made once.

A `change` message begins with the subscription's id, which differs; the rest, its tail, does not. A frame
is the two one behind the other. That holds compressed as well: the gzip stream of a message is its
beginning in a stored block, then the deflated tail, then the checksum of both.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from kalam_jupyter.kalam.live_change import change_head
from kalam_server.kalam_handlers.ws_messages import COMPRESS_FROM, GZIP_LEVEL, FrameEncoder

if TYPE_CHECKING:
    from kalam_jupyter.kalam import LiveChange

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


class ChangeFrames:
    """Frames the changes of one subscription of one connection.

    Parameters
    ----------
    encoder : FrameEncoder
        What was negotiated.
    subscription_id : str
    """

    def __init__(self, encoder: FrameEncoder, subscription_id: str) -> None:
        self._compress = encoder.compress
        self._packed = encoder.protocol.serialization == "msgpack"
        if self._packed:
            # the map without its header: how many members it has depends on the change
            self._head = _pack({"type": "change", "subscription_id": subscription_id})[1:]
        else:
            self._head = change_head(subscription_id)

    def of(self, changes: Sequence[LiveChange]) -> bytes:
        """Return the frames of changes, in order."""
        return b"".join([self._one(change) for change in changes])

    def _one(self, change: LiveChange) -> bytes:
        if self._packed:
            members, tail = _packed_tail(change)
            head = bytes((0x82 + members,)) + self._head
        else:
            head, tail = self._head, change.json_tail
        size = len(head) + len(tail)
        if size >= COMPRESS_FROM and self._compress:
            compressed = _gzip(head, tail, _deflated(change, tail, self._packed))
            if len(compressed) < size:
                return _header(BINARY, len(compressed)) + compressed
        return _header(BINARY if self._packed else TEXT, size) + head + tail


def _packed_tail(change: LiveChange) -> tuple[int, bytes]:
    """Return how many members of the message's map are in its tail, and the tail, as MessagePack."""
    found: tuple[int, bytes] | None = change.forms.get("msgpack")
    if found is None:
        body = change.body
        found = change.forms["msgpack"] = (len(body), _pack(body)[1:])
    return found


def _deflated(change: LiveChange, tail: bytes, packed: bool) -> bytes:
    name = "deflated msgpack" if packed else "deflated json"
    found: bytes | None = change.forms.get(name)
    if found is None:
        deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        found = change.forms[name] = deflate.compress(tail) + deflate.flush()
    return found


def _gzip(head: bytes, tail: bytes, deflated: bytes) -> bytes:
    """Return ``head + tail`` as one gzip member (RFC 1952), given the raw deflate stream of `tail`."""
    size = len(head)
    stored = struct.pack("<BHH", 0, size, size ^ 0xFFFF)
    checksum = zlib.crc32(tail, zlib.crc32(head))
    return b"".join(
        (_GZIP_HEADER, stored, head, deflated, struct.pack("<II", checksum, (size + len(tail)) & 0xFFFFFFFF))
    )
