"""The suite's own functions (function contract section 11), defined as any user would define them."""

from __future__ import annotations

import itertools
from typing import Any

from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.functions.python import udaf, udf, udtf


class _Calls:
    """Counts the calls of BAD_UDF; every case starts anew."""

    counter = itertools.count(1)


def register(ksql: Ksql) -> None:
    """Make the functions ready for a new case; defining them, below, made them visible to every `Ksql`."""
    assert ksql.functions.find("TEST_UDF") is not None
    _Calls.counter = itertools.count(1)


def _names(name: str) -> Any:
    """A function that returns the name of the overload that was chosen."""
    return lambda *arguments: name


for _parameters, _name in (
    ("i INT, s STRING", "doStuffIntString"),
    ("l BIGINT, s STRING", "doStuffLongString"),
    ("a BIGINT, b BIGINT, s STRING", "doStuffLongLongString"),
    ("longs BIGINT...", "doStuffLongVarargs"),
):
    udf(f"test_udf({_parameters}) -> STRING")(_names(_name))


@udf("test_udf(struct STRUCT<A STRING>) -> STRING")
def _struct_field(struct: dict[str, str]) -> str:
    return struct["A"]


@udf("test_udf() -> STRUCT<A STRING>")
def _make_struct() -> dict[str, str]:
    return {"A": "foo"}


@udf("bad_udf(i INT) -> INT")
def _always_fails(i: int) -> int:
    raise RuntimeError("boom!")


@udf("bad_udf(fail BOOLEAN) -> INT")
def _fails_if_asked(fail: bool) -> int:
    if fail:
        raise RuntimeError("You asked me to throw...")
    return 0


@udf("bad_udf(s STRING) -> STRING")
def _null_every_other_time(s: str) -> str | None:
    return None if next(_Calls.counter) % 2 else s


@udf("whencondition(value BOOLEAN, expected BOOLEAN) -> BOOLEAN")
def _when_condition(value: bool, expected: bool) -> bool:
    if not expected:
        raise RuntimeError("When condition in case is not running as expected.")
    return value


@udf("whenresult(value INT, expected BOOLEAN) -> INT")
def _when_result(value: int, expected: bool) -> int:
    if not expected:
        raise RuntimeError("When result in case is not running as expected.")
    return value


class _Sum:
    """Adds numbers; a NULL fails."""

    def initial(self) -> Any:
        return 0

    def add(self, state: Any, value: Any) -> Any:
        return state + value

    def merge(self, a: Any, b: Any) -> Any:
        return a + b


class _UndoableSum(_Sum):
    def undo(self, state: Any, value: Any) -> Any:
        return state - value


class _ConfiguredSum(_UndoableSum):
    start = 0

    def configure(self, config: dict[str, Any]) -> None:
        self.start = int(config.get("init", 0))

    def initial(self) -> int:
        return self.start


udaf("test_udaf(value BIGINT) -> BIGINT", nulls=True)(_UndoableSum)
udaf("test_udaf(value INT) -> BIGINT", nulls=True)(_ConfiguredSum)
udaf("test_udaf(value DOUBLE) -> DOUBLE", nulls=True)(_Sum)
udaf("test_udaf(value T) -> T", nulls=True)(_Sum)


@udaf("test_udaf(value STRING, literal first STRING) -> BIGINT", nulls=True)
class _LengthSum(_Sum):
    def __init__(self, first: str) -> None:
        self.first = first

    def initial(self) -> int:
        return len(self.first)

    def add(self, state: int, value: str) -> int:
        return state + len(value)


@udaf("test_udaf(value STRUCT<A INT, B INT>) -> STRUCT<A INT, B INT>", nulls=True)
class _StructSum:
    def initial(self) -> dict[str, int]:
        return {"A": 0, "B": 0}

    def add(self, state: dict[str, int], value: dict[str, int]) -> dict[str, int]:
        return {name: state[name] + value[name] for name in state}

    merge = add


class _Lengths:
    """Adds numbers and the lengths of texts, from a start that the literals give; NULL counts nothing."""

    def __init__(self, start: int = 0, *texts: str) -> None:
        self.start = start + sum(map(len, texts))

    def initial(self) -> int:
        return self.start

    def add(self, state: int, *values: Any) -> int:
        return state + sum(len(v) if isinstance(v, str) else v for v in values if v is not None)

    def merge(self, a: int, b: int) -> int:
        return a + b

    def undo(self, state: int, *values: Any) -> int:
        return 2 * state - self.add(state, *values)


_LITERALS = "literal start INT, literal texts STRING..."
for _signature in (
    f"MULTI_ARG(a BIGINT, b STRING, {_LITERALS})",
    f"FOUR_ARG(a BIGINT, b STRING, c STRING, d STRING, {_LITERALS})",
    f"FIVE_ARG(a BIGINT, b STRING, c STRING, d STRING, e INT, {_LITERALS})",
    "VAR_ARG(a BIGINT, b STRING...)",
):
    udaf(f"{_signature} -> BIGINT", nulls=True)(_Lengths)


@udaf("MID_VAR_ARG(a BIGINT, b STRING..., literal first INT, literal second INT) -> BIGINT", nulls=True)
class _MiddleVariadic(_Lengths):
    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.more = first + second

    def result(self, state: int) -> int:
        return state + self.more


class _FirstOfComplete:
    """Collects the first column of the rows without NULL."""

    def initial(self) -> list[Any]:
        return []

    def add(self, state: list[Any], *values: Any) -> list[Any]:
        return state if None in values else [*state, values[0]]

    def merge(self, a: list[Any], b: list[Any]) -> list[Any]:
        return a + b


udaf("GENERIC_VAR_ARG(a A, b B, c C...) -> ARRAY<A>", nulls=True)(_FirstOfComplete)
udaf("OBJ_COL_ARG(a INT, rest ANY...) -> ARRAY<INT>", nulls=True)(_FirstOfComplete)


def _text(value: Any) -> str:
    """What Java's toString gives."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "Struct{" + ",".join(f"{k}={_text(v)}" for k, v in value.items()) + "}"
    return str(value)


@udtf("test_udtf(value T) -> T")
def _one_row(value: Any) -> list[Any]:
    return [value]


@udtf("test_udtf(value DECIMAL) -> DECIMAL(30, 10)")
def _one_decimal(value: Any) -> list[Any]:
    return [value]


_TYPES = ("INT", "BIGINT", "DOUBLE", "BOOLEAN", "STRING", "DECIMAL", "STRUCT")


def _seven(wrap: str) -> str:
    return ", ".join(f"p{i} {wrap.format(type_)}" for i, type_ in enumerate(_TYPES))


@udtf(f"test_udtf({_seven('{}')}) -> STRING")
def _row_each(*values: Any) -> list[str]:
    return [_text(v) for v in values]


@udtf(f"test_udtf({_seven('ARRAY<{}>')}) -> STRING")
def _first_elements(*values: list[Any]) -> list[str]:
    return [_text(v[0]) for v in values]


@udtf(f"test_udtf({_seven('MAP<STRING, {}>')}) -> STRING")
def _first_entries(*values: dict[str, Any]) -> list[str]:
    return [_text(next(iter(v.values()))) for v in values]


@udtf("throwing_udtf(fail BOOLEAN) -> BOOLEAN")
def _throws(fail: bool) -> list[bool]:
    if fail:
        raise RuntimeError("You asked me to throw")
    return [fail]
