from __future__ import annotations

import base64
import re

import pytest

from kalam_jupyter.widgets import LiveChart, live_widgets
from kalam_jupyter.widgets._assets import css, esm

from .streams import HandStream, changes

WAIT_S = 30


def finished(stream: HandStream, *rows: tuple, **options) -> LiveChart:
    stream.give(changes(rows))
    stream.end()
    chart = LiveChart(stream, **options)
    assert chart.wait(timeout=WAIT_S)
    return chart


def picture(chart: LiveChart) -> str:
    found = re.search(r"base64,([^\"]+)", chart._saved()["text/html"])
    assert found is not None
    return base64.b64decode(found.group(1)).decode()


def test_the_browser_is_told_what_to_draw():
    chart = finished(HandStream(key=("K",)), ("a", 1), kind="area")
    state = chart.get_state()
    assert {name: state[name] for name in ("kind", "x", "y", "by", "scale")} == {
        "kind": "area",
        "x": "K",
        "y": ["N"],
        "by": [],
        "scale": "category",
    }


def test_a_keyed_stream_draws_the_latest_of_each_key():
    chart = finished(HandStream(key=("K",)), ("a", 1), ("b", 3), ("a", 2))
    assert chart.table().to_pydict() == {"K": ["a", "b"], "N": [2, 3]}
    assert {"a", "b"} <= set(re.findall(r">(\w+)</text>", picture(chart)))


def test_the_saved_form_is_a_picture_a_caption_and_the_rows_as_text():
    chart = finished(HandStream(), ("a", 1), ("b", 2))
    data = chart._saved()
    assert "finished · 2 rows in" in data["text/html"] and "<script" not in data["text/html"]
    assert 'alt="SELECT * FROM t EMIT CHANGES;"' in data["text/html"]
    assert data["text/plain"].splitlines()[1:3] == ["a  1", "b  2"]


def test_rows_keep_their_numbers_when_older_ones_were_forgotten():
    chart = finished(HandStream(), *(("a", i) for i in range(500)), max_rows=10)
    shown = re.findall(r">(\d+)</text>", picture(chart))
    assert chart.table().num_rows == 10 and {"492", "500"} <= set(shown)


def test_a_running_chart_is_listed_pauses_and_stops():
    stream = HandStream()
    chart = LiveChart(stream)
    assert chart in live_widgets()
    chart._on_message(chart, {"type": "command", "name": "pause"}, [])
    assert chart.status == "paused"
    chart.stop(WAIT_S)
    assert chart.status == "stopped" and stream.closed.is_set() and chart not in live_widgets()


def test_what_cannot_be_drawn_starts_nothing():
    before = live_widgets()
    with pytest.raises(ValueError, match="no column 'M'"):
        LiveChart(HandStream(), y="M")
    assert live_widgets() == before


def test_the_code_that_travels_is_small():
    assert len(esm("live_chart")) < 50_000 and len(css("live_chart")) < 8_000
