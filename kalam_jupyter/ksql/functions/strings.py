"""String functions (function contract section 3). Lengths and positions count UTF-16 code units."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
import uuid as uuids
from collections.abc import Callable
from typing import AnyStr

from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.registry import Library
from kalam_jupyter.ksql.values import text as utf16
from kalam_jupyter.ksql.values.errors import EvaluationError
from kalam_jupyter.ksql.values.numbers import trim as java_trim

functions = Library("STRING")
MAX_PADDING = 10_000_000


@functions.scalar("lcase(text STRING) -> STRING", examples=[("LCASE('AbC')", "abc")])
def lcase(text: str) -> str:
    """The text in lower case."""
    return text.lower()


@functions.scalar("ucase(text STRING) -> STRING", examples=[("UCASE('AbC')", "ABC")])
def ucase(text: str) -> str:
    """The text in upper case."""
    return text.upper()


_WORDS = re.compile(r"([^ \t\n\x0b\f\r])([^ \t\n\x0b\f\r]*)([ \t\n\x0b\f\r]*)")


@functions.scalar("initcap(text STRING) -> STRING", examples=[("INITCAP('hello tHERE')", "Hello There")])
def initcap(text: str) -> str:
    """The text in lower case with the first letter of each word in upper case; leading blanks are dropped."""
    return "".join(first.upper() + rest + blank for first, rest, blank in _WORDS.findall(text.lower()))


@functions.scalar("len(text STRING) -> INT", examples=[("LEN('abc')", "3")])
def len_(text: str) -> int:
    """Length: UTF-16 code units of a STRING, bytes of BYTES."""
    return utf16.length(text)


@functions.scalar("trim(text STRING) -> STRING", examples=[("TRIM('  a b ')", "a b")])
def trim(text: str) -> str:
    """The text without characters up to U+0020 at both ends."""
    return java_trim(text)


@functions.scalar(
    "concat(values STRING...) -> STRING", nulls=True, examples=[("CONCAT('a', NULL, 'b')", "ab")]
)
def concat(*values: str | None) -> str:
    """All arguments after each other (``||`` is the same); NULLs are skipped, so that it is never NULL."""
    return "".join([v for v in values if v is not None])


@functions.scalar(
    "concat_ws(separator STRING, values STRING...) -> STRING",
    nulls=True,
    examples=[("CONCAT_WS(', ', 'a', NULL, '', 'b')", "a, , b")],
)
def concat_ws(separator: str | None, *values: str | None) -> str | None:
    """All arguments with a separator between; NULLs are skipped, a NULL separator gives NULL.

    Fewer than two arguments fail.
    """
    if not values:
        raise EvaluationError("CONCAT_WS expects at least two input arguments")
    return None if separator is None else separator.join([v for v in values if v is not None])


def slice_bounds(length: int, position: int, count: int | None) -> tuple[int, int]:
    """Return start and end of SUBSTRING: positions from 1, negative ones from the end, 0 is 1."""
    start = max(length + position, 0) if position < 0 else max(min(position - 1, length), 0)
    return start, length if count is None else max(min(start + count, length), start)


@functions.scalar(
    "substring(text STRING, position INT) -> STRING",
    "substring(text STRING, position INT, length INT) -> STRING",
    examples=[("SUBSTRING('stream', 1, 4)", "stre"), ("SUBSTRING('stream', -3)", "eam")],
)
def substring(text: str, position: int, length: int | None = None) -> str:
    """Part of the text from a position (from 1; negative from the end; 0 is 1), to the end or of a length.

    Beyond the end it is empty, and so it is with a negative length.
    """
    start, end = slice_bounds(utf16.length(text), position, length)
    return utf16.substring(text, start, end)


@functions.scalar(
    "instr(text STRING, search STRING) -> INT",
    "instr(text STRING, search STRING, position INT) -> INT",
    "instr(text STRING, search STRING, position INT, occurrence INT) -> INT",
    nulls=True,
    examples=[("INSTR('corporate floor', 'or', 4, 2)", "14"), ("INSTR('corporate floor', 'or', -4)", "5")],
)
def instr(text: str | None, search: str | None, position: int | None = 1, occurrence: int | None = 1) -> int:
    """Position (from 1) of the n-th occurrence, searched from a position; negative ones search backwards
    from the end.

    0 if there is none or a text is NULL. Occurrences may overlap. A NULL position or occurrence fails.
    """
    if text is None or search is None:
        return 0
    if position is None or occurrence is None:
        raise EvaluationError("INSTR needs a position and an occurrence")
    whole, part = utf16.expand(text), utf16.expand(search)
    if position == 0 or abs(position) > len(whole) or occurrence <= 0:
        return 0
    if position < 0:
        at = _find(whole[::-1], part[::-1], -position - 1, occurrence)
        return 0 if at < 0 else len(whole) - at - len(part) + 1
    return _find(whole, part, position - 1, occurrence) + 1


def _find(text: str, part: str, start: int, occurrence: int) -> int:
    at = start - 1
    for _ in range(occurrence):
        at = text.find(part, at + 1)
        if at < 0:
            break
    return at


def fill_up(padding: AnyStr, missing: int) -> AnyStr:
    """Return so much of a repeated padding; too much of it fails, before it takes the memory."""
    if missing > MAX_PADDING:
        raise EvaluationError(f"LPAD and RPAD add at most {MAX_PADDING} characters or bytes, not {missing}")
    return (padding * (missing // len(padding) + 1))[:missing]


def _pad(text: str, length: int, padding: str) -> tuple[str, str] | None:
    """Return the text cut to `length` and what fills it up; None where LPAD and RPAD are NULL."""
    if length < 0 or not padding:
        return None
    whole, fill = utf16.expand(text), utf16.expand(padding)
    missing = length - len(whole)
    if missing <= 0:
        return whole[:length], ""
    return whole, fill_up(fill, missing)


@functions.scalar(
    "lpad(text STRING, length INT, padding STRING) -> STRING",
    examples=[("LPAD('foo', 7, 'Bar')", "BarBfoo"), ("LPAD('foo', 2, 'Bar')", "fo")],
)
def lpad(text: str, length: int, padding: str) -> str | None:
    """The text filled up on the left, or cut on the right, to a length.

    NULL for an empty padding or a negative length.
    """
    parts = _pad(text, length, padding)
    return None if parts is None else utf16.collapse(parts[1] + parts[0])


@functions.scalar(
    "rpad(text STRING, length INT, padding STRING) -> STRING",
    examples=[("RPAD('foo', 7, 'Bar')", "fooBarB")],
)
def rpad(text: str, length: int, padding: str) -> str | None:
    """The text filled up on the right, or cut on the right, to a length.

    NULL for an empty padding or a negative length.
    """
    parts = _pad(text, length, padding)
    return None if parts is None else utf16.collapse(parts[0] + parts[1])


@functions.scalar(
    "replace(text STRING, old STRING, new STRING) -> STRING", examples=[("REPLACE('aXbX', 'X', '-')", "a-b-")]
)
def replace(text: str, old: str, new: str) -> str:
    """The text with every occurrence of `old` replaced."""
    growth = len(new) - len(old)
    if growth * (len(text) + 1) > MAX_PADDING and growth * text.count(old) > MAX_PADDING:
        raise EvaluationError(f"REPLACE adds at most {MAX_PADDING} characters")
    return text.replace(old, new)


@functions.scalar(
    "split(text STRING, delimiter STRING) -> ARRAY<STRING>", examples=[("SPLIT('a,,b,', ',')", "[a, , b, ]")]
)
def split(text: str, delimiter: str) -> list[str]:
    """Pieces between delimiters, empty ones too; an empty delimiter splits in characters."""
    if delimiter:
        return text.split(delimiter)
    return [utf16.collapse(c) for c in utf16.expand(text)] or [""]


@functions.scalar(
    "split_to_map(text STRING, entryDelimiter STRING, keyValueDelimiter STRING) -> MAP<STRING, STRING>",
    examples=[("SPLIT_TO_MAP('a:1/b:2', '/', ':')['b']", "2")],
)
def split_to_map(text: str, entry_delimiter: str, kv_delimiter: str) -> dict[str, str] | None:
    """Entries of a text like ``a:1/b:2``.

    Entries without the inner delimiter are ignored; of a repeated key the last entry wins. NULL if a
    delimiter is empty or both are equal.
    """
    if not entry_delimiter or not kv_delimiter or entry_delimiter == kv_delimiter:
        return None
    pairs = [entry.split(kv_delimiter) for entry in text.split(entry_delimiter) if kv_delimiter in entry]
    return {pair[0]: pair[1] for pair in pairs}


@functions.scalar("chr(code INT) -> STRING", examples=[("CHR(75)", "K"), ("CHR('\\u004b')", "K")])
def chr_(code: int) -> str | None:
    """The character of a Unicode code point; NULL outside Unicode. A text may give it as ``\\u004b``."""
    return utf16.collapse(chr(code)) if 0 <= code <= 0x10FFFF else None


_UNICODE_ESCAPE = re.compile(r"\\u+([0-9A-Fa-f]{4})")
_JAVA_ESCAPE = re.compile(r"\\u+([0-9A-Fa-f]{4})|\\([0-3]?[0-7]{1,2})|\\(.)", re.DOTALL)
_CONTROL = {"b": "\b", "n": "\n", "t": "\t", "f": "\f", "r": "\r"}


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return chr(int(match[2], 8)) if match[2] else _CONTROL.get(match[3], match[3])


@functions.scalar("chr(escaped STRING) -> STRING")
def chr_escaped(escaped: str) -> str | None:
    """The text of Java escapes, beginning with a Unicode one; NULL for any other text."""
    if len(escaped) < 6 or not escaped.startswith("\\u"):
        return None
    if not _UNICODE_ESCAPE.match(escaped):
        raise EvaluationError(f"Unable to parse unicode value: {escaped}")
    return utf16.collapse(_JAVA_ESCAPE.sub(_unescape, escaped))


@functions.scalar("elt(n INT, values STRING...) -> STRING", nulls=True, examples=[("ELT(2, 'a', 'b')", "b")])
def elt(n: int | None, *values: str | None) -> str | None:
    """The n-th (from 1) of the texts; NULL if there is none."""
    return values[n - 1] if n is not None and 1 <= n <= len(values) else None


@functions.scalar(
    "field(text STRING, values STRING...) -> INT", nulls=True, examples=[("FIELD('b', 'a', 'b')", "2")]
)
def field(text: str | None, *values: str | None) -> int:
    """Position (from 1) of the first text that equals the first argument; 0 if there is none or it is
    NULL.
    """
    if text is None:
        return 0
    return next((i for i, value in enumerate(values, 1) if value == text), 0)


Masker = Callable[[str], str]
_CLASS_OF = {"Lu": 0, "Ll": 1, "Nd": 2}


def _masker(masks: tuple[str | None, ...]) -> Masker:
    for mask in masks:
        if mask is not None and utf16.length(mask) != 1:
            raise EvaluationError(f"Invalid mask character '{mask}': exactly one is needed")

    def apply(text: str) -> str:
        out = []
        for c in utf16.expand(text):
            mask = masks[_CLASS_OF.get(unicodedata.category(c), 3)]
            out.append(c if mask is None else mask)
        return "".join(out)

    return apply


_DEFAULT_MASKS = ("X", "x", "n", "-")
_default_masker = _masker(_DEFAULT_MASKS)


def _pick(masks: tuple[str | None, ...]) -> Masker:
    return _masker(masks) if masks else _default_masker


_MASKS = "upper STRING, lower STRING, digit STRING, other STRING"


@functions.scalar(
    "mask(text STRING) -> STRING",
    f"mask(text STRING, {_MASKS}) -> STRING",
    nulls=True,
    examples=[("MASK('My Test $123')", "Xx-Xxxx--nnn")],
)
def mask(text: str | None, *masks: str | None) -> str | None:
    """The text with upper-case letters as X, lower-case as x, digits as n and all else as -.

    Other mask characters may be given; a NULL one leaves its class unchanged, one that is not a single
    character fails.
    """
    return None if text is None else utf16.collapse(_pick(masks)(text))


def _partial(masked: Callable[[int, int], tuple[int, int]]) -> Callable[..., str | None]:
    """Return a function that masks from start to end, which `masked` computes of length and count."""

    def apply(text: str | None, count: int | None, *masks: str | None) -> str | None:
        masker = _pick(masks)
        if count is None or count < 0:
            raise EvaluationError(f"The number of characters must not be negative: {count}")
        if text is None:
            return None
        whole = utf16.expand(text)
        start, end = masked(len(whole), min(count, len(whole)))
        return utf16.collapse(whole[:start] + masker(whole[start:end]) + whole[end:])

    return apply


_PARTIAL: tuple[tuple[str, str, Callable[[int, int], tuple[int, int]], str], ...] = (
    ("mask_left", "Mask the first characters only; see MASK.", lambda n, k: (0, k), "Xxxx-123"),
    ("mask_right", "Mask the last characters only; see MASK.", lambda n, k: (n - k, n), "Test-nnn"),
    ("mask_keep_left", "Mask all but the first characters; see MASK.", lambda n, k: (k, n), "Test-nnn"),
    ("mask_keep_right", "Mask all but the last characters; see MASK.", lambda n, k: (0, n - k), "Xxxx-123"),
)
for _name, _text, _bounds, _shown in _PARTIAL:
    _function = _partial(_bounds)
    _function.__doc__ = _text + " A negative number of characters fails."
    _count = 4 if _name in ("mask_left", "mask_keep_left") else 3
    functions.scalar(
        f"{_name}(text STRING, count INT) -> STRING",
        f"{_name}(text STRING, count INT, {_MASKS}) -> STRING",
        nulls=True,
        examples=[(f"{_name.upper()}('Test-123', {_count})", _shown)],
    )(_function)


@functions.scalar("md5(text STRING) -> STRING", examples=[("MD5('a')", "0cc175b9c0f1b6a831c399e269772661")])
def md5(text: str) -> str:
    """MD5 of the text's UTF-8 bytes, in lower-case hexadecimal."""
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def _from_hex(text: str) -> bytes:
    digits = text
    if text[:2] == "0x":
        digits = text[2:]
        digits = "0" + digits if len(digits) % 2 else digits
    elif match := re.fullmatch(r"[xX]'(.*)'", text, re.DOTALL):
        digits = match[1]
    if len(digits) % 2 or not re.fullmatch(r"[0-9A-Fa-f]*", digits):
        raise EvaluationError(f"Not hexadecimal: '{text}'")
    return bytes.fromhex(digits)


_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


def lenient_base64(text: str) -> bytes:
    """Decode base64, of either alphabet, skipping what is not part of it."""
    digits = _NOT_BASE64.sub("", text.partition("=")[0].replace("-", "+").replace("_", "/"))
    digits = digits[:-1] if len(digits) % 4 == 1 else digits
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


_DECODE: dict[str, Callable[[str], bytes]] = {
    "hex": _from_hex,
    "utf8": lambda s: s.encode("utf-8"),
    "ascii": lambda s: utf16.expand(s).encode("ascii", "replace"),
    "base64": lenient_base64,
}
_ENCODE: dict[str, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "utf8": lambda b: b.decode("utf-8", "replace"),
    "ascii": lambda b: b.decode("ascii", "replace"),
    "base64": lambda b: base64.b64encode(b).decode("ascii"),
}


@functions.scalar(
    "encode(text STRING, from STRING, to STRING) -> STRING",
    examples=[("ENCODE('Example string', 'utf8', 'hex')", "4578616d706c6520737472696e67")],
)
def encode(text: str, from_: str, to: str) -> str:
    """The text, taken as one encoding, in another: hex, utf8, ascii or base64, in any case.

    Unknown or equal encodings and malformed hexadecimal text fail.
    """
    source, target = from_.lower(), to.lower()
    if source not in _DECODE or target not in _ENCODE or source == target:
        raise EvaluationError(
            f"Supported input and output encodings are: hex, utf8, ascii and base64, not {from_} to {to}"
        )
    return _ENCODE[target](_DECODE[source](text))


@functions.scalar("uuid() -> STRING", context=True)
def uuid(context: EvaluationContext) -> str:
    """A random (version 4) UUID, or the text of one given as 16 bytes (NULL for another length)."""
    return str(uuids.UUID(int=context.random.getrandbits(128), version=4))


@functions.scalar("uuid(bytes BYTES) -> STRING")
def uuid_of(data: bytes) -> str | None:
    """The text of a UUID of 16 bytes; NULL for another number of bytes."""
    return str(uuids.UUID(bytes=data)) if len(data) == 16 else None
