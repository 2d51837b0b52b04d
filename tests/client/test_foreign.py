"""Answers of a KalamDB that is not ours: JSON as its HTTP contract has it."""

import datetime as dt
from decimal import Decimal

from kalam_jupyter.client.foreign import kalam_results, kalam_table

MOMENT = dt.datetime(2026, 5, 4, 20, 27, 57, 123000)
MS = 1777926477123


def body(*columns):
    """A result of one row: (data type, value) of each column."""
    schema = [{"name": f"c{i}", "data_type": type_, "index": i} for i, (type_, _) in enumerate(columns)]
    return {"results": [{"schema": schema, "rows": [[v for _, v in columns]], "row_count": 1}]}


def values(*columns):
    (result,) = kalam_results(body(*columns))
    return list(result.table.to_pylist()[0].values())


def test_moments_of_tables_of_system_tables_and_of_now_are_the_same_moment():
    given = [("Timestamp", MS), ("Timestamp", MS * 1000), ("Timestamp", MS * 10**6), ("DateTime", MS * 1000)]
    assert [v.replace(tzinfo=None) for v in values(*given)] == [MOMENT] * 4
    assert values(("Timestamp", None), ("Timestamp", 0)) == [None, dt.datetime(1970, 1, 1)]
    before = dt.datetime(1969, 12, 31, 23, 59, 59)
    assert values(("Timestamp", -1_000_000)) == [before]


def test_rows_of_a_live_query_are_always_microseconds():
    schema = [{"name": "at", "data_type": "Timestamp"}]
    table = kalam_table(schema, [[10**13]])
    assert table.column("at").to_pylist() == [dt.datetime(1970, 4, 26, 17, 46, 40)]


def test_every_other_type():
    given = [("BigInt", "9007199254740993"), ("Int", 7), ("Float", 0.5), ("Bytes", [72, 105]), ("Text", "x")]
    assert values(*given) == [9007199254740993, 7, 0.5, b"Hi", "x"]
    decimal = {"Decimal": {"precision": 10, "scale": 2}}
    assert values((decimal, "-0.50"), ({"Embedding": 2}, [0.5, 1])) == [Decimal("-0.50"), [0.5, 1.0]]
    assert values(("Date", 20577), ("Time", 45_296_000_000)) == [dt.date(2026, 5, 4), dt.time(12, 34, 56)]
