"""Values that are made of a number: the query engine makes them however large, and a process that has no more
memory ends.

What the number is, is seen here where a query says so; where it is computed, nobody knows before, and the
answer is measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.kalam.errors import SqlSyntaxError, StatementError
from kalam_jupyter.kalam.tokens import NUMBER, OP, PARAM, WORD, Token, position_of, tokenize

#: Characters or elements of one value.
MAX_SIZE = 10_000_000
#: Functions whose second argument is a size.
_SIZED = frozenset(["REPEAT", "LPAD", "RPAD", "ARRAY_REPEAT", "LIST_REPEAT", "ARRAY_RESIZE", "LIST_RESIZE"])
_SERIES = frozenset(["RANGE", "GENERATE_SERIES"])
_LARGE = re.compile(r"\d{8}")


def check_sizes(sql: str, values: Mapping[str, Any]) -> None:
    """Refuse a query that asks for one value of more than `MAX_SIZE` characters or elements.

    Parameters
    ----------
    values : mapping
        Value of ``$n`` under ``"n"``.

    Raises
    ------
    SqlSyntaxError
        At the function.
    """
    if not (_LARGE.search(sql) or any(isinstance(v, int) and abs(v) > MAX_SIZE for v in values.values())):
        return
    tokens = tokenize(sql)
    for i, token in enumerate(tokens):
        if token.kind != WORD or token.text not in _SIZED | _SERIES or tokens[i + 1].text != "(":
            continue
        if token.text in _SERIES and i and tokens[i - 1].text in ("FROM", "JOIN"):
            continue  # a table of rows that come one by one
        given = [_number(argument, values) for argument in _arguments(tokens, i + 2)]
        if _size(token.text, given) > MAX_SIZE:
            text = f"{token.text} makes at most {MAX_SIZE} characters or elements of one value"
            raise SqlSyntaxError(text, position_of(sql, token.start))


def _arguments(tokens: Sequence[Token], i: int) -> list[list[Token]]:
    """Return the arguments of a call whose first one begins at a token."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[i:-1]:
        if token.kind == OP:
            depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
            if depth < 0:
                break
            if token.text == "," and not depth:
                found.append([])
                continue
        found[-1].append(token)
    return found


def _number(argument: Sequence[Token], values: Mapping[str, Any]) -> int | None:
    """Return the integer that an argument is; None if it is anything else."""
    sign = -1 if argument and argument[0].text == "-" else 1
    token = argument[-1] if 1 <= len(argument) <= (1 if sign == 1 else 2) else None
    if token is not None and token.kind == NUMBER and token.text.isdecimal():
        return sign * int(token.text)
    value = values.get(token.text[1:]) if token is not None and token.kind == PARAM else None
    return sign * value if isinstance(value, int) else None


def _size(name: str, given: Sequence[int | None]) -> int:
    """Return how large a value is; 0 if that is not known."""
    if name in _SIZED:
        return (given[1] or 0) if len(given) > 1 else 0
    start, end, step = [0, *given, 1] if len(given) == 1 else [*given, 1, 1][:3]
    if start is None or end is None or not step:
        return 0
    return abs(end - start) // abs(step)


def check_answer(table: pa.Table, most: int) -> None:
    """Refuse an answer that is too large to be made Python values and JSON of.

    Parameters
    ----------
    most : int
        Bytes; 0 for any.

    Raises
    ------
    StatementError
        As the query engine words it when a query's memory is used up.
    """
    if most and (size := sum(_column_size(column) for column in table.columns)) > most:
        text = f"Resources exhausted: The answer has {size} bytes, a query may use {most}"
        raise StatementError("execution", text)


def _column_size(column: pa.ChunkedArray) -> int:
    if pa.types.is_primitive(column.type) or pa.types.is_string(column.type):
        return int(column.nbytes)
    return sum(map(_array_size, column.chunks))


def _array_size(array: pa.Array) -> int:
    """Return the bytes of an array, each value counted as often as it occurs: views and dictionaries share
    theirs.
    """
    type_ = array.type
    if pa.types.is_dictionary(type_) and not pa.types.is_primitive(type_.value_type):
        lengths = pc.binary_length(array.dictionary.cast(pa.large_binary()))
        return int(array.indices.nbytes) + int(pc.sum(lengths.take(array.indices)).as_py() or 0)
    if pa.types.is_string_view(type_) or pa.types.is_binary_view(type_):
        views = np.frombuffer(array.buffers()[1], "<i4").reshape(-1, 4)  # of 16 bytes: first is the length
        lengths = views[array.offset : array.offset + len(array), 0]
        return int(lengths.sum(where=array.is_valid().to_numpy(zero_copy_only=False))) + 16 * len(array)
    if pa.types.is_struct(type_):
        return sum(map(_array_size, array.flatten()))
    if pa.types.is_map(type_):
        return _array_size(array.keys) + _array_size(array.items)
    if pa.types.is_nested(type_) and not pa.types.is_union(type_):
        return _array_size(array.flatten())
    return int(array.nbytes)
