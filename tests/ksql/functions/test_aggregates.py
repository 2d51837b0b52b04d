"""Aggregates: what they give, and the laws that undo and merge obey."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.aggregates_collect import EXACT_DISTINCT
from kalam_jupyter.ksql.functions.definitions import Aggregation, EvaluationContext
from kalam_jupyter.ksql.values.coerce import Operand
from kalam_jupyter.ksql.values.errors import AggregationError
from tests.ksql.functions.evaluate import REGISTRY

D2 = t.Decimal(4, 2)


def aggregation(
    name: str, *types: t.DataType | None, literals: Sequence[Any] = (), **config: Any
) -> Aggregation:
    columns = [Operand(type_, f"C{i}") for i, type_ in enumerate(types)]
    kinds = {bool: t.BOOLEAN, int: t.INTEGER, str: t.STRING}
    constants = [Operand(kinds[type(v)], repr(v), v) for v in literals]
    return REGISTRY.aggregate(name, columns + constants, config, EvaluationContext())


def fold(a: Aggregation, values: Sequence[Any], state: Any = None) -> Any:
    state = a.initial() if state is None else state
    for value in values:
        state = a.add(state, *(value if isinstance(value, tuple) else (value,)))
    return state


def result(a: Aggregation, values: Sequence[Any]) -> Any:
    return a.result(fold(a, values))


RESULTS: list[tuple[str, tuple[t.DataType, ...], list[Any], list[Any], Any]] = [
    ("COUNT", (t.STRING,), [], ["a", None, "b"], 2),
    ("SUM", (t.INTEGER,), [], [2147483647, 1, None], -2147483648),
    ("SUM", (t.BIGINT,), [], [], 0),
    ("SUM", (D2,), [], [Decimal("1.10"), Decimal("-2.00")], Decimal("-0.90")),
    ("SUM_LIST", (t.Array(t.INTEGER),), [], [[1, None, 2], None, [3]], 6),
    ("AVG", (t.INTEGER,), [], [2147483647, 1], -1073741824.0),
    ("AVG", (t.DOUBLE,), [], [None], 0.0),
    ("MAX", (t.STRING,), [], ["\ue000", "\U0001f600", None], "\ue000"),
    ("MIN", (t.BYTES,), [], [b"\x01", b"\xff"], b"\xff"),
    ("MIN", (t.DATE,), [], [], None),
    ("STDDEV_SAMPLE", (t.INTEGER,), [], [2, 4, 4, 4, 5, 5, 7, 9], math.sqrt(32 / 7)),
    ("STDDEV_SAMP", (t.INTEGER,), [], [2, 4, 4, 4, 5, 5, 7, 9], 32 / 7),
    ("STDDEV_SAMP", (t.DOUBLE,), [], [1.0], 0.0),
    ("COLLECT_LIST", (t.STRING,), [], ["a", None, "a"], ["a", None, "a"]),
    ("COLLECT_SET", (t.Array(t.INTEGER),), [], [[1], None, [1], None], [[1], None]),
    ("HISTOGRAM", (t.STRING,), [], ["a", "b", "a", None], {"a": 2, "b": 1, "null": 1}),
    ("ATTR", (t.INTEGER,), [], [7, 7], 7),
    ("ATTR", (t.INTEGER,), [], [7, None], None),
    ("TOPK", (t.INTEGER,), [3], [5, 1, None, 5, 9], [9, 5, 5]),
    ("TOPK", (t.INTEGER, t.STRING), [2], [(1, "a"), (2, "b"), (2, "c"), (2, "d")], [(2, "b"), (2, "c")]),
    ("TOPKDISTINCT", (t.STRING,), [2], ["a", "c", "c", "b"], ["c", "b"]),
    ("EARLIEST_BY_OFFSET", (t.INTEGER,), [], [None, 1, 2], 1),
    ("EARLIEST_BY_OFFSET", (t.INTEGER,), [False], [None, 1], None),
    ("EARLIEST_BY_OFFSET", (t.INTEGER,), [2], [None, 1, 2, 3], [1, 2]),
    ("LATEST_BY_OFFSET", (t.INTEGER,), [], [1, 2, None], 2),
    ("LATEST_BY_OFFSET", (t.INTEGER,), [2, False], [1, 2, None], [2, None]),
    ("COUNT_DISTINCT", (t.STRING,), [], ["a", None, "b", "a"], 2),
]


@pytest.mark.parametrize(("name", "types", "literals", "values", "expected"), RESULTS)
def test_result(
    name: str, types: tuple[t.DataType, ...], literals: list[Any], values: list[Any], expected: Any
) -> None:
    assert result(aggregation(name, *types, literals=literals), values) == expected


def test_the_correlation_of_pairs_without_nulls() -> None:
    pairs = [(1.5, 8.0), (-1.0, -2.0), (13.1, None), (3.0, 11.0)]
    a = aggregation("CORRELATION", t.DOUBLE, t.DOUBLE)
    assert result(a, pairs) == pytest.approx(0.9875342538416804)
    assert math.isnan(result(a, pairs[:1]))


UNDOABLE = [
    ("COUNT", t.INTEGER),
    ("SUM", t.INTEGER),
    ("SUM", t.BIGINT),
    ("AVG", t.INTEGER),
    ("COLLECT_LIST", t.INTEGER),
    ("HISTOGRAM", t.STRING),
    ("ATTR", t.INTEGER),
]
SMALL = st.one_of(st.none(), st.integers(-3, 3))


@pytest.mark.parametrize(("name", "type_"), UNDOABLE)
@given(values=st.lists(SMALL, max_size=8), last=SMALL)
def test_undo_takes_the_last_value_back(name: str, type_: t.DataType, values: list[Any], last: Any) -> None:
    if type_ == t.STRING:
        values, last = [None if v is None else str(v) for v in values], None if last is None else str(last)
    a = aggregation(name, type_)
    assert a.undo is not None
    before = a.result(fold(a, values))
    assert a.result(a.undo(a.add(fold(a, values), last), last)) == before


MERGEABLE = [
    ("COUNT", t.INTEGER, []),
    ("SUM", t.BIGINT, []),
    ("AVG", t.INTEGER, []),
    ("MIN", t.INTEGER, []),
    ("MAX", t.INTEGER, []),
    ("COLLECT_LIST", t.INTEGER, []),
    ("COLLECT_SET", t.INTEGER, []),
    ("ATTR", t.INTEGER, []),
    ("TOPK", t.INTEGER, [2]),
    ("TOPKDISTINCT", t.INTEGER, [2]),
    ("EARLIEST_BY_OFFSET", t.INTEGER, [2]),
    ("LATEST_BY_OFFSET", t.INTEGER, []),
    ("COUNT_DISTINCT", t.INTEGER, []),
    ("STDDEV_SAMPLE", t.DOUBLE, []),
]


@pytest.mark.parametrize(("name", "type_", "literals"), MERGEABLE)
@given(older=st.lists(SMALL, max_size=6), newer=st.lists(SMALL, max_size=6))
def test_merging_two_states_is_folding_all_values(
    name: str, type_: t.DataType, literals: list[Any], older: list[Any], newer: list[Any]
) -> None:
    a = aggregation(name, type_, literals=literals)
    first = fold(a, older)
    merged = a.result(a.merge(first, fold(a, newer)))
    expected = result(a, older + newer)
    assert merged == (pytest.approx(expected) if type_ == t.DOUBLE else expected)


def test_latest_n_keeps_the_oldest_when_sessions_merge_as_the_reference_does() -> None:
    a = aggregation("LATEST_BY_OFFSET", t.INTEGER, literals=[2])
    first = fold(a, [1, 2])
    assert a.result(a.merge(first, fold(a, [3, 4]))) == [1, 2]


@pytest.mark.parametrize(("name", "type_", "literals"), MERGEABLE)
def test_states_are_plain_data_and_results_do_not_change_later(
    name: str, type_: t.DataType, literals: list[Any]
) -> None:
    a = aggregation(name, type_, literals=literals)
    state = fold(a, [3, 1])
    shown = a.result(state)
    copy = pickle.loads(pickle.dumps(shown))
    restored = pickle.loads(pickle.dumps(state))
    assert a.result(restored) == shown
    a.add(state, 2)
    assert shown == copy


def test_many_distinct_values_are_estimated_closely() -> None:
    a = aggregation("COUNT_DISTINCT", t.BIGINT)
    assert result(a, list(range(EXACT_DISTINCT))) == EXACT_DISTINCT
    assert result(a, list(range(20_000))) == pytest.approx(20_000, rel=0.02)
    dense, sparse = fold(a, list(range(10_000))), fold(a, list(range(9_000, 12_000)))
    assert a.result(a.merge(sparse, dense)) == pytest.approx(12_000, rel=0.02)


def test_collections_have_a_limit_that_a_property_sets() -> None:
    columns = [Operand(t.INTEGER, "X")]
    config = {"ksql.functions.collect_list.limit": "2", "ksql.functions.collect_set.limit": 1}
    assert result(REGISTRY.aggregate("COLLECT_LIST", columns, config), [1, 1, 1]) == [1, 1]
    assert result(REGISTRY.aggregate("COLLECT_SET", columns, config), [1, 2]) == [1]


def test_a_decimal_sum_that_overflows_fails() -> None:
    a = aggregation("SUM", D2)
    with pytest.raises(
        AggregationError, match=r"^Numeric field overflow: A field with precision 4 and scale 2"
    ):
        fold(a, [Decimal("99.00"), Decimal("1.00")])


@pytest.mark.parametrize("name", ["EARLIEST_BY_OFFSET", "LATEST_BY_OFFSET"])
def test_the_number_of_values_to_keep_is_at_least_one(name: str) -> None:
    kind = name.split("_")[0].lower()
    with pytest.raises(KsqlError, match=f"^{kind}N must be 1 or greater$"):
        aggregation(name, t.INTEGER, literals=[0])


def test_state_types_say_which_formats_can_hold_them() -> None:
    assert aggregation("COUNT", t.STRING).state_type == t.BIGINT
    assert aggregation("MAX", t.STRING).state_type == t.STRING
    assert isinstance(aggregation("AVG", t.INTEGER).state_type, t.Struct)
    topk = aggregation("TOPK", t.INTEGER, t.STRING, literals=[2])
    assert topk.type == t.Array(t.Struct((("sort_col", t.INTEGER), ("col0", t.STRING))))
    assert topk.columns == (0, 1)
    assert topk.undo is None


def test_averages_of_decimals_go_through_double() -> None:
    a = aggregation("AVG", D2)
    assert a.types == (t.DOUBLE,)
    assert a.conversions[0](Decimal("1.50")) == 1.5
