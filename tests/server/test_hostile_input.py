"""Input that was made to do harm: it is refused, and the server goes on."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator

import pyarrow as pa
import pytest

from kalam_jupyter.ksql.errors import RequestError
from kalam_server.kalam_handlers.ws_messages import MalformedError, read_binary, read_text
from kalam_server.ksql_handlers import frames
from kalam_server.ksql_handlers.frames import read_stream
from kalam_server.ksql_handlers.inserts_stream import parse_rows

DEEP = 200_000


@pytest.fixture(scope="module")
def stream() -> bytes:
    """A table of every kind of layout, as it comes over the wire."""
    table = pa.table(
        {
            "text": ["kettle"] * 8,
            "bytes": [b"\x00\xff"] * 8,
            "number": list(range(8)),
            "list": [[1, 2, 3]] * 8,
            "struct": [{"a": 1, "b": "x"}] * 8,
            "word": pa.array(["p", "q"] * 4).dictionary_encode(),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def broken(stream: bytes) -> Iterator[bytes]:
    """Every way to set one byte to its greatest value, and every way to be cut off."""
    for at in range(len(stream)):
        yield stream[:at] + b"\xff" + stream[at + 1 :]
    for end in range(0, len(stream), 16):
        yield stream[:end]


def test_an_arrow_stream_that_lies_about_its_layout_is_not_taken(stream: bytes) -> None:
    assert read_stream(stream) is not None
    taken = [table for table in map(read_stream, broken(stream)) if table is not None]
    for table in taken:
        with contextlib.suppress(UnicodeDecodeError):  # names are checked where they are used
            table.to_pylist()  # reads every value
    assert len(taken) < len(stream)


def test_offsets_beyond_the_data_are_refused(stream: bytes) -> None:
    ends = stream.index((6).to_bytes(4, "little") + (12).to_bytes(4, "little"))
    assert read_stream(stream[:ends] + (2**31 - 1).to_bytes(4, "little") + stream[ends + 4 :]) is None


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_what_a_stream_unfolds_to_is_known_before_it_is_unfolded(
    monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    table = pa.table({"n": [0] * 100_000, "w": pa.array(["w" * 100_000] * 100_000).dictionary_encode()})
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    data = bytes(sink.getvalue())
    assert len(data) < 50_000
    assert frames.unfolded(data) == pytest.approx(100_000 * (8 + 4) + 100_000, rel=0.01)
    assert read_stream(data) == table
    monkeypatch.setattr(frames, "MAX_UNFOLDED", 1_000_000)
    with pytest.raises(RequestError, match="unfolds to more than"):
        read_stream(data)
    for broken_stream in broken(data[:2000]):
        with contextlib.suppress(RequestError):
            read_stream(broken_stream)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "ping", "more": ' + "[" * DEEP,
        '{"type": "subscribe", "subscription": {"id": "a", "sql": "b", "options": ' + '{"a":' * DEEP,
    ],
)
def test_a_message_nested_without_end_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        read_text(text)


def test_a_packed_message_nested_without_end_is_malformed() -> None:
    with pytest.raises(MalformedError):
        read_binary(b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * DEEP)


def test_a_message_that_unfolds_to_very_much_is_malformed() -> None:
    with pytest.raises(MalformedError):
        read_binary(gzip.compress(bytes(1 << 24)))


def test_a_row_nested_without_end_is_no_json() -> None:
    assert parse_rows([b'{"A": 1}', b'{"A": ' + b"[" * DEEP]) == ([{"A": 1}], True)
