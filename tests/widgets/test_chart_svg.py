from __future__ import annotations

import datetime as dt
from decimal import Decimal
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.widgets.chart_svg import collect, draw, nice_step, number_text, ticks, time_text
from kalam_jupyter.widgets.encoding import KINDS, Encoding, encode

SCHEMA = pa.schema([("K", pa.string()), ("AT", pa.timestamp("ms")), ("N", pa.decimal128(9, 1))])


def at(second: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, 0, 0, second)


def table(*rows: tuple) -> pa.Table:
    return pa.table([[r[i] for r in rows] for i in range(3)], schema=SCHEMA)


def texts(svg: str) -> list[str]:
    return [e.text or "" for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_series_are_cut_by_value_and_ordered_by_event_time():
    rows = table(
        ("a", at(2), Decimal("2.5")), ("b", at(1), None), ("a", at(1), Decimal(1)), ("a", None, Decimal(1))
    )
    series, _ = collect(rows, encode(SCHEMA, (), by="K"))
    assert [(s.name, s.points) for s in series] == [
        ("a", [(1000.0, 1.0), (2000.0, 2.5)]),
        ("b", [(1000.0, None)]),
    ]


def test_the_last_value_of_a_category_counts():
    rows = table(("a", at(1), Decimal(1)), ("b", at(1), Decimal(2)), ("a", at(1), Decimal(3)))
    series, categories = collect(rows, encode(SCHEMA, (), x="K"))
    assert categories == {"a": 0, "b": 1} and series[0].points == [(0, 3.0), (1, 2.0)]


def test_rows_without_x_are_numbered_as_they_came():
    schema = pa.schema([("N", pa.float64())])
    series, _ = collect(pa.table([[5.0, float("nan")]], schema=schema), encode(schema, ()), first_row=100)
    assert series[0].points == [(100, 5.0), (101, None)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_a_document_with_axes_and_legend(kind):
    rows = table(
        ("<a>", at(1), Decimal(1)),
        ("b", at(2), Decimal(-2)),
        ("<a>", at(3), None),
        ("<a>", at(4), Decimal(4)),
    )
    shown = texts(draw(rows, encode(SCHEMA, (), kind=kind, by="K")))
    assert {"<a>", "b", "N", "AT (UTC)", "0"} <= set(shown) and any(":" in text for text in shown)


def test_series_beyond_the_tenth_are_counted():
    rows = table(*((f"k{i}", at(1), Decimal(i)) for i in range(13)))
    shown = texts(draw(rows, encode(SCHEMA, (), by="K")))
    assert "+ 3 more" in shown and "k9" in shown and "k10" not in shown


def test_no_rows_say_so():
    assert texts(draw(SCHEMA.empty_table(), encode(SCHEMA, ()))) == ["no rows"]


@given(
    st.lists(st.none() | st.floats(-1e12, 1e12), max_size=30),
    st.sampled_from(KINDS),
    st.integers(1, 10**9),
)
def test_any_numbers_give_a_document_whose_marks_are_finite(values, kind, first):
    data = pa.table({"N": pa.array(values, pa.float64())})
    svg = draw(data, Encoding(kind, "", "row", ("N",), ()), first_row=first)
    ElementTree.fromstring(svg)
    assert "nan" not in svg and "inf" not in svg


def test_a_long_line_stays_small_and_keeps_its_peak():
    values = [0.0] * 40_000
    values[23_456] = 1000.0
    svg = draw(pa.table({"N": values}), Encoding("line", "", "row", ("N",), ()))
    assert len(svg) < 60_000 and " 22.0L" in svg


def test_ticks_are_ones_twos_and_fives():
    assert [nice_step(v) for v in (0.03, 0.11, 1, 3, 70)] == pytest.approx([0.05, 0.2, 1, 5, 100])
    assert list(ticks(-1, 5, 2)) == [0, 2, 4]
    assert [number_text(v, 0.5) for v in (1234.5, 2_500_000)] == ["1,234.5", "2.5M"]


def test_times_are_as_precise_as_their_axis():
    moment = 1_795_356_180_250
    assert [time_text(moment, s) for s in (100, 1_000, 60_000, 86_400_000)] == [
        "14:03:00.250",
        "14:03:00",
        "14:03",
        "2026-11-22",
    ]
