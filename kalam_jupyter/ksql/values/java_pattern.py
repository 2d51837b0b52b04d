"""Java's date-time patterns, split in their parts; the names of Locale.US."""

from __future__ import annotations

from dataclasses import dataclass

from kalam_jupyter.ksql.values.errors import EvaluationError

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
QUARTERS = ("1st quarter", "2nd quarter", "3rd quarter", "4th quarter")


@dataclass(frozen=True)
class Field:
    """A run of one pattern letter."""

    letter: str
    count: int


@dataclass(frozen=True)
class Optional:
    """A part in square brackets."""

    items: tuple[Item, ...]


Item = Field | Optional | str


def tokenize(pattern: str) -> tuple[Item, ...]:
    """Split a pattern in literals (str), fields and optional parts; EvaluationError if it is malformed."""
    items: list[Item] = []
    stack: list[list[Item]] = []
    at = 0
    while at < len(pattern):
        c = pattern[at]
        if c.isascii() and c.isalpha():
            end = at
            while end < len(pattern) and pattern[end] == c:
                end += 1
            items.append(Field(c, end - at))
            at = end
            continue
        if c == "'":
            literal, at = _quoted(pattern, at)
            items.append(literal)
            continue
        if c == "[":
            stack.append(items)
            items = []
        elif c == "]":
            if not stack:
                raise EvaluationError("Pattern invalid as it contains ] without previous [")
            part, items = Optional(tuple(items)), stack.pop()
            items.append(part)
        elif c in "{}#":
            raise EvaluationError(f"Pattern includes reserved character: '{c}'")
        else:
            items.append(c)
        at += 1
    while stack:
        part, items = Optional(tuple(items)), stack.pop()
        items.append(part)
    return tuple(items)


def _quoted(pattern: str, at: int) -> tuple[str, int]:
    """Return the text of the quoted literal that starts at `at`, and where it ends."""
    end, text = at + 1, ""
    while end < len(pattern):
        if pattern[end] == "'":
            if pattern[end + 1 : end + 2] != "'":
                return text or "'", end + 1
            end += 1
        text += pattern[end]
        end += 1
    raise EvaluationError(f"Pattern ends with an incomplete string literal: {pattern}")
