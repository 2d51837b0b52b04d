"""Functions that users write in Python."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from kalam_jupyter import udaf, udf, udtf
from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.functions.python import USER, forget
from kalam_jupyter.ksql.values.coerce import Operand
from tests.ksql.functions.evaluate import REGISTRY, evaluate, show


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    before = set(USER.functions)
    yield
    forget(set(USER.functions) - before)


def test_annotations_give_the_signature() -> None:
    @udf
    def clip(x: float, low: float = 0.0, *others: float) -> float:
        """Hold a number."""
        return max(x, low, *others)

    function = REGISTRY.get("CLIP")
    assert str(function.overloads[0].signature) == "clip(DOUBLE x, DOUBLE low, DOUBLE... others)"
    assert function.description == "Hold a number."
    assert evaluate("CLIP(1.5, 2, 3)") == 3.0
    assert clip(1.0) == 1.0


def test_dates_and_structs_come_as_python_has_them() -> None:
    @udf("shift(day DATE, row STRUCT<N INT>) -> STRUCT<DAY DATE, AT TIMESTAMP>")
    def shift(day: date, row: dict[str, int]) -> dict[str, Any]:
        moved = date.fromordinal(day.toordinal() + row["N"])
        return {"DAY": moved, "AT": datetime(moved.year, moved.month, moved.day, 1, tzinfo=UTC)}

    assert show("SHIFT(FROM_DAYS(1), STRUCT(N := 2))") == "Struct{DAY=1970-01-04,AT=1970-01-04T01:00:00.000}"


def test_nulls_do_not_reach_a_function_unless_it_asks_for_them() -> None:
    @udf
    def strict(x: int) -> int:
        return x

    @udf
    def lenient(x: int | None) -> int:
        return -1 if x is None else x

    assert evaluate("STRICT(CAST(NULL AS BIGINT))") is None
    assert evaluate("LENIENT(CAST(NULL AS BIGINT))") == -1


def test_a_failure_is_null_like_any_other() -> None:
    @udf
    def fails(x: int) -> int:
        raise RuntimeError("no")

    assert evaluate("FAILS(1)") is None
    assert evaluate("COALESCE(FAILS(1), CAST(5 AS BIGINT))") == 5


def test_overloads_live_under_one_name_and_a_new_definition_replaces_the_old() -> None:
    udf("which(x INT) -> STRING")(lambda x: "int")
    udf("which(x STRING) -> STRING")(lambda x: "text")
    assert [evaluate("WHICH(1)"), evaluate("WHICH('a')")] == ["int", "text"]
    udf("which(x INT) -> STRING")(lambda x: "new")
    assert evaluate("WHICH(1)") == "new"
    assert len(REGISTRY.get("WHICH").overloads) == 2


def test_a_table_function_gives_a_row_for_each_item() -> None:
    @udtf
    def words(text: str) -> list[str]:
        return text.split()

    call = REGISTRY.table("WORDS", [t.STRING])
    assert call.type == t.STRING
    assert call.function("a b") == ["a", "b"]
    assert REGISTRY.is_table_function("words")


def test_an_aggregate_is_a_class() -> None:
    @udaf("longest(text STRING, literal least INT) -> STRING", state="STRUCT<TEXT STRING>")
    class Longest:
        """The longest text."""

        def __init__(self, least: int) -> None:
            self.least = least

        def initial(self) -> tuple[str | None]:
            return (None,)

        def add(self, state: tuple[str | None], text: str) -> tuple[str | None]:
            return (text,) if len(text) >= max(self.least, len(state[0] or "")) else state

        def result(self, state: tuple[str | None]) -> str | None:
            return state[0]

    a = REGISTRY.aggregate("LONGEST", [Operand(t.STRING, "X"), Operand(t.INTEGER, "2", 2)])
    state = a.initial()
    shown = []
    for text in ("a", "bb", None, "c"):
        state = a.add(state, text)
        shown.append(a.result(state))
    assert shown == [None, "bb", "bb", "bb"]
    assert a.undo is None
    assert a.state_type == t.Struct((("TEXT", t.STRING),))


def test_numbers_of_numpy_become_plain_ones() -> None:
    import numpy as np

    udf("mean(xs ARRAY<INT>) -> DOUBLE")(lambda xs: np.mean(xs))
    value = evaluate("MEAN(ARRAY[1, 2])")
    assert type(value) is float
    assert value == 1.5


def test_what_cannot_be_a_function_is_refused() -> None:
    with pytest.raises(ValueError, match="ABS is a built-in function"):
        udf("abs(x INT) -> INT")(abs)
    with pytest.raises(TypeError, match="parameter x has no annotation"):
        udf(lambda x: x)
    with pytest.raises(TypeError, match="is no SQL type"):
        _bad_annotation()
    with pytest.raises(ValueError, match="no result type"):
        udf("f(x INT)")(abs)
    with pytest.raises(TypeError, match="needs a method add"):
        udaf("f(x INT) -> INT")(type("F", (), {"initial": lambda self: 0}))


def _bad_annotation() -> None:
    @udf
    def f(x: complex) -> int:
        return 0
