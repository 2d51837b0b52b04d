"""Python values in SQL: ``:name`` becomes a typed literal, never pasted text; after IN, a list of them."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.client.literals import literal
from kalam_jupyter.magics.errors import SqlError, UsageError
from kalam_jupyter.magics.options import Dialect
from kalam_jupyter.magics.positions import position_of
from kalam_jupyter.magics.scan import blanked

# Not :: (a cast), not := (a map entry), not after a word (a slice, a label).
_NAME = re.compile(r"(?<![:\w\])]):([A-Za-z_]\w*)")
_TEMPLATE = re.compile(r"\{\{")
_AFTER_IN = re.compile(r"\bIN\s*\Z", re.IGNORECASE)


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
        bound = _bound(match, text, code, names, dialect)
        pieces += [text[copied : match.start()], bound]
        length += match.start() - copied
        edits.append((length, length + len(bound), match.start()))
        length += len(bound)
        copied = match.end()
    return Bound("".join(pieces) + text[copied:], text, tuple(edits))


def _bound(match: re.Match[str], text: str, code: str, names: Mapping[str, Any], dialect: Dialect) -> str:
    name = match.group(1)
    if name not in names:
        values = (n for n, value in names.items() if not (n.startswith("_") or callable(value)))
        hint = UsageError.near(name, values)
        raise _refused(text, match.start(), f"There is no Python variable '{name}'.", hint)
    try:
        if _AFTER_IN.search(code, 0, match.start()):
            return _alternatives(names[name], dialect)
        return literal(names[name], dialect)
    except TypeError as error:
        raise _refused(text, match.start(), f"'{name}' cannot be bound: {error}", "") from None


def _alternatives(value: Any, dialect: Dialect) -> str:
    """Return the values that IN looks among."""
    values = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(values, (list, tuple, set, frozenset)):
        raise TypeError("IN takes a list of values")
    if not values:
        raise TypeError("it is empty, and IN needs a value")
    return f"({', '.join(literal(v, dialect) for v in values)})"


def _refused(text: str, offset: int, message: str, hint: str) -> SqlError:
    line, column = position_of(text, offset)
    return SqlError(message, cell=text, line=line, column=column, hint=hint, title="Parameter error")
