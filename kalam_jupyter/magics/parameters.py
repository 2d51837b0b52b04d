"""Python values in SQL: ``:name`` becomes a typed literal, never pasted text."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import re
import uuid
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.magics.errors import SqlError, UsageError, position_of
from kalam_jupyter.magics.options import Dialect
from kalam_jupyter.magics.scan import blanked

# Not :: (a cast), not := (a map entry), not after a word (a slice, a label).
_NAME = re.compile(r"(?<![:\w\])]):([A-Za-z_]\w*)")
_TEMPLATE = re.compile(r"\{\{")


@dataclass(frozen=True)
class Bound:
    """A cell with its parameters filled in.

    Attributes
    ----------
    text : str
    original : str
        The cell as it was written.
    """

    text: str
    original: str
    _edits: tuple[tuple[int, int, int], ...] = ()  # (start in text, end in text, start in original)

    def original_offset(self, offset: int) -> int:
        """Return where an offset in `text` stands in `original`."""
        index = bisect_right(self._edits, (offset, math.inf, math.inf)) - 1
        if index < 0:
            return offset
        _, end, original = self._edits[index]
        if offset < end:
            return original
        name_end = _NAME.match(self.original, original)
        return offset - end + (name_end.end() if name_end else original)


def bind(text: str, names: Mapping[str, Any], dialect: Dialect) -> Bound:
    """Fill in every ``:name`` outside quotes and comments.

    Parameters
    ----------
    text : str
    names : mapping
        The notebook's variables.
    dialect : {"ksql", "kalam"}
        Whose literals to write.

    Raises
    ------
    SqlError
        For a name that is no variable, a value that has no literal, and ``{{ }}``.
    """
    code = blanked(text)
    template = _TEMPLATE.search(code)
    if template:
        raise _refused(
            text,
            template.start(),
            "{{ }} would paste text into SQL",
            "Write :name instead: the variable's value is bound as a typed literal.",
        )
    pieces: list[str] = []
    edits: list[tuple[int, int, int]] = []
    copied = length = 0
    for match in _NAME.finditer(code):
        literal = _literal_of(match, text, names, dialect)
        pieces += [text[copied : match.start()], literal]
        length += match.start() - copied
        edits.append((length, length + len(literal), match.start()))
        length += len(literal)
        copied = match.end()
    return Bound("".join(pieces) + text[copied:], text, tuple(edits))


def _literal_of(match: re.Match[str], text: str, names: Mapping[str, Any], dialect: Dialect) -> str:
    name = match.group(1)
    if name not in names:
        hint = UsageError.near(name, (n for n in names if not n.startswith("_")))
        raise _refused(text, match.start(), f"There is no Python variable '{name}'.", hint)
    try:
        return literal(names[name], dialect)
    except TypeError as error:
        raise _refused(text, match.start(), f"'{name}' cannot be bound: {error}", "") from None


def _refused(text: str, offset: int, message: str, hint: str) -> SqlError:
    line, column = position_of(text, offset)
    return SqlError(message, cell=text, line=line, column=column, hint=hint, title="Parameter error")


def literal(value: Any, dialect: Dialect) -> str:
    """Return a Python value as a SQL literal.

    Times with a zone become UTC. Lists and dicts become ``ARRAY[..]`` and ``STRUCT(..)`` in ksqlDB, JSON text
    in KalamDB.

    Raises
    ------
    TypeError
        For a value that has no literal.
    """
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a NumPy scalar
    if value is None or value is _pandas_missing(value):
        return "NULL"
    for types, write in _WRITERS:
        if isinstance(value, types):
            return write(value, dialect)
    if hasattr(value, "columns") and hasattr(value, "dtypes"):
        raise TypeError("a DataFrame is no single value; df.kalam.to_stream(..) sends its rows")
    raise TypeError(f"a value of type {type(value).__name__} has no SQL literal")


def _pandas_missing(value: Any) -> Any:
    """The value itself if it is pandas' NA or NaT, otherwise a fresh object."""
    return value if type(value).__name__ in ("NAType", "NaTType") else object()


def _text(value: str, _: Dialect) -> str:
    return "'" + value.replace("'", "''") + "'"


def _float(value: float, _: Dialect) -> str:
    if math.isnan(value):
        return "NULL"
    if math.isinf(value):
        raise TypeError("infinity has no SQL literal")
    text = repr(value)
    return text if "e" in text or "." in text else f"{text}.0"


def _moment(value: dt.datetime, _: Dialect) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return f"'{value.isoformat(timespec='milliseconds')}'"


def _bytes(value: bytes, dialect: Dialect) -> str:
    if dialect == "ksql":
        raise TypeError("ksqlDB has no BYTES literal; pass text and use TO_BYTES(:name, 'hex')")
    return f"X'{value.hex()}'"


def _sequence(value: Any, dialect: Dialect) -> str:
    if dialect == "ksql":
        return f"ARRAY[{', '.join(literal(v, dialect) for v in value)}]"
    return _text(json.dumps(list(value)), dialect)


def _mapping(value: Mapping[str, Any], dialect: Dialect) -> str:
    if dialect == "ksql":
        fields = ", ".join(
            f"`{str(k).replace('`', '``')}` := {literal(v, dialect)}" for k, v in value.items()
        )
        return f"STRUCT({fields})"
    return _text(json.dumps(value), dialect)


_WRITERS: tuple[tuple[type | tuple[type, ...], Callable[[Any, Dialect], str]], ...] = (
    (bool, lambda v, _: "TRUE" if v else "FALSE"),
    (int, lambda v, _: str(v)),
    (float, _float),
    (decimal.Decimal, lambda v, _: f"{v:f}"),
    (str, _text),
    (dt.datetime, _moment),
    ((dt.date, dt.time, uuid.UUID), lambda v, _: f"'{v}'"),
    (bytes, _bytes),
    ((list, tuple), _sequence),
    (dict, _mapping),
)
