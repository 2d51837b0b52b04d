from __future__ import annotations

import pyarrow as pa
import pytest

from kalam_jupyter.widgets.encoding import encode

WINDOWED = pa.schema(
    [("K", pa.string()), ("WINDOWSTART", pa.int64()), ("WINDOWEND", pa.int64()), ("TOTAL", pa.int64())]
)
READINGS = pa.schema([("SENSOR", pa.string()), ("AT", pa.timestamp("ms")), ("TEMP", pa.float64())])


def test_a_windowed_aggregate_is_one_line_per_key_over_the_windows():
    found = encode(WINDOWED, ("K", "WINDOWSTART", "WINDOWEND"))
    assert (found.kind, found.x, found.scale) == ("line", "WINDOWSTART", "time")
    assert (found.y, found.by) == (("TOTAL",), ("K",))


def test_an_aggregate_without_time_is_a_bar_for_each_key():
    found = encode(pa.schema([("K", pa.string()), ("N", pa.int64())]), ("K",))
    assert (found.kind, found.x, found.scale, found.y, found.by) == ("bar", "K", "category", ("N",), ())


def test_a_stream_is_drawn_over_its_first_column_of_times():
    found = encode(READINGS, (), by="sensor")
    assert (found.x, found.scale, found.y, found.by) == ("AT", "time", ("TEMP",), ("SENSOR",))


def test_without_times_and_key_rows_stand_in_the_order_in_which_they_came():
    found = encode(pa.schema([("N", pa.decimal128(9, 2))]), ())
    assert (found.x, found.scale, found.y) == ("", "row", ("N",))


def test_what_the_user_says_is_taken():
    found = encode(WINDOWED, ("K",), kind="points", x="TOTAL", y=["TOTAL"], by=[])
    assert (found.kind, found.x, found.scale, found.y, found.by) == (
        "points",
        "TOTAL",
        "linear",
        ("TOTAL",),
        (),
    )


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({"kind": "pie"}, "'pie' is no kind of chart; there are line, bar, area, points"),
        ({"x": "TENP"}, "no column 'TENP'; there are SENSOR, AT, TEMP; did you mean TEMP"),
        ({"y": "SENSOR"}, "column 'SENSOR' holds string, not numbers"),
        ({"x": "TEMP"}, "no column with numbers to draw"),
    ],
)
def test_what_cannot_be_drawn_is_refused(said, answer):
    with pytest.raises(ValueError, match=answer.replace("?", r"\?")):
        encode(READINGS, (), **said)
