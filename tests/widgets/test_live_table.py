from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from kalam_jupyter.client import Changes, ClientError
from kalam_jupyter.widgets import LiveTable, live_widgets
from kalam_jupyter.widgets._assets import css, esm

from .streams import SCHEMA, HandStream, changes

WAIT_S = 30


class Recorded(LiveTable):
    """A live table whose browser is a list."""

    def __init__(self, *args, **kwargs) -> None:
        self.messages: list[tuple[dict, list]] = []
        self._came = threading.Condition()
        super().__init__(*args, **kwargs)

    def send(self, content, buffers=None) -> None:
        with self._came:
            self.messages.append((content, buffers or []))
            self._came.notify_all()

    def until(self, enough: Callable[[], object]) -> None:
        with self._came:
            assert self._came.wait_for(enough, WAIT_S)

    def frames(self) -> list[pa.Table]:
        return [pa.ipc.open_stream(b[0]).read_all() for m, b in self.messages if m["type"] == "frame"]


def test_rows_arrive_as_numbered_arrow_frames():
    stream = HandStream()
    table = Recorded(stream)
    stream.give(changes([("a", 1), ("b", 2)]))
    assert table.wait(rows=2, timeout=WAIT_S)
    stream.give(changes([("c", 3)]))
    stream.end()
    assert table.wait(timeout=WAIT_S) and table.status == "finished"
    assert pa.concat_tables(table.frames()).to_pydict() == {"K": ["a", "b", "c"], "N": [1, 2, 3]}
    numbers = [m["seq"] for m, _ in table.messages if m["type"] == "frame"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert table.stats.rows_in == 3 and table.stats.conflated == 0


def test_the_frame_is_arrow_backed_and_holds_the_latest_of_each_key():
    stream = HandStream(key=("K",))
    table = Recorded(stream)
    stream.give(changes([("a", 1), ("a", 2), ("b", 3)]))
    table.wait(rows=3, timeout=WAIT_S)
    frame = table.frame()
    assert frame.to_dict("list") == {"K": ["a", "b"], "N": [2, 3]}
    assert str(frame.dtypes["N"]) == "int64[pyarrow]"
    table.stop()


def test_stop_closes_the_query_and_keeps_the_rows():
    stream = HandStream()
    table = Recorded(stream)
    assert table in live_widgets()
    stream.give(changes([("a", 1)]))
    table.wait(rows=1, timeout=WAIT_S)
    table.stop(WAIT_S)
    assert table.status == "stopped" and stream.closed.is_set() and table not in live_widgets()
    assert table.table().num_rows == 1


def test_the_stop_button_stops():
    stream = HandStream()
    table = Recorded(stream)
    table._on_message(table, {"type": "command", "name": "stop"}, [])
    assert table.wait(timeout=WAIT_S) and table.status == "stopped"


def test_pause_freezes_the_display_but_counts_on():
    stream = HandStream()
    table = Recorded(stream)
    table.pause()
    table.messages.clear()
    stream.give(changes([("a", 1)]))
    assert table.wait(rows=1, timeout=WAIT_S)
    assert table.status == "paused" and table.frames() == []
    table.resume()
    stream.end()
    table.wait(timeout=WAIT_S)
    assert pa.concat_tables(table.frames()).num_rows == 1


@pytest.mark.parametrize("key", [(), ("K",)])
def test_a_page_that_comes_after_the_end_gets_all_rows(key: tuple[str, ...]):
    stream = HandStream(key=key)
    table = Recorded(stream)
    stream.give(changes([("a", 1), ("b", 2)]))
    assert table.wait(rows=2, timeout=WAIT_S)
    stream.end()
    assert table.wait(timeout=WAIT_S)
    table.messages.clear()
    table._on_message(table, {"type": "resync"}, [])
    [(message, _)] = table.messages
    assert message["reset"] and message["stats"]["rows_in"] == 2
    assert table.frames()[0].to_pydict()["K"] == ["a", "b"]


def test_a_page_that_comes_while_it_is_paused_gets_what_is_retained():
    stream = HandStream()
    table = Recorded(stream)
    stream.give(changes([("a", 1)]))
    table.until(table.frames)
    table.pause()
    table.messages.clear()
    table._on_message(table, {"type": "resync"}, [])
    table.until(table.frames)
    assert table.frames()[0].to_pydict()["K"] == ["a"]
    table.stop(WAIT_S)


def test_figures_carry_the_number_of_the_last_frame():
    stream = HandStream()
    table = Recorded(stream)
    stream.give(changes([("a", 1)]))
    table.until(table.frames)
    table._on_message(table, {"type": "visible", "page": "p", "turn": 1, "value": False}, [])
    stream.give(changes([("a", 2)]))
    table.until(lambda: any(m["type"] == "stats" and m["stats"]["rows_in"] == 2 for m, _ in table.messages))
    numbers = [m["seq"] for m, _ in table.messages]
    assert numbers == sorted(numbers) and numbers[-1] == len(table.frames())
    table.stop(WAIT_S)


def test_a_query_that_fails_says_why():
    stream = HandStream()
    table = Recorded(stream)
    stream.end(ClientError("the topic is gone"))
    assert table.wait(timeout=WAIT_S)
    assert (table.status, table.error) == ("failed", "the topic is gone")
    assert "failed: the topic is gone" in table._snapshot()["text/plain"]


def test_a_bug_in_the_stream_is_shown_not_lost():
    class Broken(HandStream):
        def poll(self, max_rows: int = 1000):
            raise ZeroDivisionError("oops")

    table = Recorded(Broken())
    assert table.wait(timeout=WAIT_S)
    assert table.error == "ZeroDivisionError: oops"


def test_wait_is_false_when_the_stream_ends_early():
    stream = HandStream()
    table = Recorded(stream)
    stream.end()
    assert not table.wait(rows=5, timeout=WAIT_S)


def test_the_view_and_what_is_saved_are_two_outputs():
    stream = HandStream()
    table = Recorded(stream, sort=("N", "desc"))
    stream.give(changes([("a", 1), ("b", 2)]))
    stream.end()
    table.wait(timeout=WAIT_S)
    view, saved = table._view()[0], table._saved()
    assert list(view) == ["application/vnd.jupyter.widget-view+json"]
    assert view["application/vnd.jupyter.widget-view+json"]["model_id"] == table.model_id
    assert set(saved) == {"text/html", "text/plain"}
    assert "<table" in saved["text/html"] and f'data-klt="{table.uid}"' in saved["text/html"]
    assert saved["text/plain"].splitlines()[1:3] == ["b  2", "a  1"]


def test_a_column_that_is_not_there_cannot_be_sorted_by():
    with pytest.raises(ValueError, match="no column 'X' to sort by; there are K, N"):
        LiveTable(HandStream(), sort=("X", "asc"))


def test_state_that_travels_is_small():
    table = Recorded(HandStream())
    assert len(esm("live_table")) < 42_000 and len(css("live_table")) < 8_000
    state = {k: v for k, v in table.get_state().items() if k not in ("_esm", "_css")}
    assert len(repr(state)) < 2_000
    table.stop()


def test_a_browser_gets_all_rows_that_are_retained():
    stream = HandStream()
    table = Recorded(stream, max_rows=100_000)
    numbers = pa.array(range(120_000))
    batch = pa.RecordBatch.from_arrays([numbers.cast(pa.string()), numbers], schema=SCHEMA)
    stream.give(Changes(batch, np.zeros(120_000, np.int8)))
    stream.end()
    assert table.wait(timeout=WAIT_S)
    sent = pa.concat_tables(table.frames())
    assert sent.num_rows == 100_000 and sent["N"][-1].as_py() == 119_999


def test_an_interruption_is_told_until_rows_come_again():
    stream = HandStream()
    table = Recorded(stream)
    told, over = threading.Event(), threading.Event()
    table.observe(lambda change: (told if change["new"] else over).set(), "error")
    stream.interruption = "the connection to http://x was lost"
    stream.give(changes([("a", 1)]))
    assert told.wait(WAIT_S)
    assert table.error == "the connection to http://x was lost; trying again" and table.status == "running"
    assert "reconnecting: the connection to http://x was lost; trying again" in table._snapshot()["text/html"]
    stream.interruption = ""
    stream.give(changes([("b", 2)]))
    assert over.wait(WAIT_S) and table.error == ""
    assert "reconnecting" not in table._snapshot()["text/html"]
    table.stop()
