"""What a notebook shows while something takes long: a line that goes, a bar that becomes a line."""

from __future__ import annotations

import threading
from queue import Queue
from types import SimpleNamespace

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.utils.capture import capture_output

from kalam_jupyter.client import ClientError, Connection
from kalam_jupyter.client.connections import connections
from kalam_jupyter.client.progress import PATIENCE_S, Waiting, bar
from kalam_jupyter.client.replay import Replay
from kalam_jupyter.magics.waiting import shortened
from tests.magics.test_magics import ORDERS, WAIT_S, complete


@pytest.fixture
def kernel(shell, monkeypatch):
    """The shell, as if it were a kernel's."""
    monkeypatch.setattr(shell, "kernel", SimpleNamespace(get_parent=dict), raising=False)
    return shell


class Pauses:
    """Time for a `Waiting`: it goes on when the test says so."""

    def __init__(self) -> None:
        self._asked: Queue[float] = Queue()
        self._told: Queue[bool] = Queue()

    def __call__(self, seconds: float) -> bool:
        self._asked.put(seconds)
        return self._told.get(timeout=WAIT_S)

    def asked(self) -> float:
        """Wait until it pauses; what was to be shown before is shown then."""
        return self._asked.get(timeout=WAIT_S)

    def over(self) -> None:
        self._told.put(False)

    def end(self) -> None:
        self._told.put(True)


def texts(captured) -> list[str]:
    return [output.data["text/plain"] for output in captured.outputs]


def test_a_short_block_shows_nothing(kernel):
    pauses = Pauses()
    with capture_output() as captured, Waiting("SELECT 1", pause=pauses):
        assert pauses.asked() == PATIENCE_S
    pauses.end()
    assert captured.outputs == [] and captured.stdout == ""


def test_a_long_block_shows_one_line_that_moves_and_goes(kernel):
    pauses, rows, clock = Pauses(), [10], iter((5.0, 6.2, 7.5))
    with capture_output() as captured:
        with Waiting("SELECT 1", lambda: f"{rows[0]} rows so far", pause=pauses, clock=clock.__next__):
            pauses.asked()
            for rows[0] in (10, 20):
                pauses.over()
                pauses.asked()
        pauses.end()
    first, second, last = captured.outputs
    assert first.data["text/plain"] == "SELECT 1 · 1 s · 10 rows so far · interrupt the kernel to stop it"
    assert "2 s · 20 rows so far" in second.data["text/html"]
    assert set(last.data.values()) == {""}
    assert len({output.transient["display_id"] for output in captured.outputs}) == 1
    assert [output.update for output in captured.outputs] == [False, True, True]


def test_the_line_goes_when_the_block_fails(kernel):
    pauses = Pauses()

    def refused() -> None:
        with Waiting("SELECT 1", pause=pauses):
            pauses.asked()
            pauses.over()
            pauses.asked()
            raise ClientError("refused")

    with capture_output() as captured, pytest.raises(ClientError):
        refused()
    pauses.end()
    assert texts(captured)[-1] == ""


def test_a_line_that_comes_late_is_not_shown(kernel):
    pauses = Pauses()
    looked, release = threading.Event(), threading.Event()

    def figures() -> str:
        looked.set()
        release.wait(WAIT_S)
        return ""

    with capture_output() as captured:
        with Waiting("SELECT 1", figures, pause=pauses):
            pauses.asked()
            pauses.over()
            assert looked.wait(WAIT_S)
        (thread,) = [t for t in threading.enumerate() if t.name == "kalam-progress"]
        release.set()
        thread.join(WAIT_S)
    assert captured.outputs == []


def test_without_a_kernel_there_is_no_line_and_no_thread(shell):
    def pause(seconds: float) -> bool:
        raise AssertionError("nobody waits")

    with Waiting("SELECT 1", pause=pause):
        assert not [t for t in threading.enumerate() if t.name == "kalam-progress"]


def test_statements_are_shortened_and_keep_secrets():
    assert shortened("\n\n  SELECT *\n  FROM orders;") == "SELECT * FROM orders;"
    assert shortened("CREATE USER 'a' WITH PASSWORD 'it''s secret'") == "CREATE USER '…' WITH PASSWORD '…'"
    assert len(shortened(f"SELECT {'a, ' * 99}b")) == 60


def test_what_a_query_has_still_to_read_is_known(run):
    run(ORDERS)
    with connections.current.push("SELECT id FROM orders EMIT CHANGES;") as latest:
        assert latest.behind() == 0
    run("%ksql SET 'auto.offset.reset'='earliest';")
    with connections.current.push("SELECT id FROM orders EMIT CHANGES;") as earliest:
        assert earliest.behind() == 3
        earliest.poll()
        assert earliest.behind() == 0
    with connections.current.push("PRINT orders FROM BEGINNING;") as printed:
        assert printed.behind() == 3


# ---- replays

FRAME = pd.DataFrame({"id": range(4), "v": range(4)})


class Clock:
    """Seconds that pass with each append."""

    def __init__(self, connection: Connection, step: float) -> None:
        self.now, self._step, self._transport = 0.0, step, connection._transport

    def __call__(self) -> float:
        return self.now

    def stream_table(self, *arguments) -> int:
        sent = self._transport.stream_table(*arguments)
        self.now += self._step if sent else 0.0
        return sent


def replayed(frame: pd.DataFrame, step: float, rate: float | None) -> Replay:
    clock = Clock(connections.current, step)
    return Replay(clock, frame, "numbers", "id", None, rate, clock=clock)


def test_a_replay_is_a_bar_and_then_a_line(kernel):
    replay = replayed(FRAME, 1.0, 1.0)
    with capture_output() as captured:
        replay._ipython_display_()
        replay._run()
    assert "<progress" in captured.outputs[0].data["text/html"]
    assert texts(captured) == [
        "sent 0 of 4 rows",
        "sent 1 of 4 rows · 1.0 rows/s · 3 s left",
        "sent 2 of 4 rows · 1.0 rows/s · 2 s left",
        "sent 3 of 4 rows · 1.0 rows/s · 1 s left",
        "sent 4 of 4 rows · 1.0 rows/s · 0 s left",
        "sent 4 rows in 4.0 s",
    ]
    assert [output.update for output in captured.outputs] == [False] + [True] * 5
    assert "<progress" not in captured.outputs[-1].data["text/html"]


def test_a_bar_moves_four_times_a_second_at_most(kernel):
    replay = replayed(pd.DataFrame({"id": range(8), "v": range(8)}), 0.125, 8.0)
    with capture_output() as captured:
        replay._ipython_display_()
        replay._run()
    moved = texts(captured)[1:-1]
    assert [int(text.split()[1]) for text in moved] == [2, 4, 6, 8]


def test_a_finished_replay_is_one_line(kernel):
    replay = connections.current.stream_frame(FRAME, "numbers", key="id")
    with capture_output() as captured:
        replay._ipython_display_()
    (text,) = texts(captured)
    assert text.startswith("sent 4 rows in ")


def test_a_stopped_replay_says_how_far_it_came(kernel):
    replay = replayed(FRAME, 1.0, 1.0)
    replay.stop()
    with capture_output() as captured:
        replay._ipython_display_()
        replay._run()
    assert texts(captured)[-1] == "stopped after 1 row of 4"


def test_a_long_send_without_a_rate_has_a_bar_that_goes(kernel):
    frame = pd.DataFrame({"id": range(250_000), "v": range(250_000)})
    with capture_output() as captured:
        replay = replayed(frame, 1.0, None)
        replay.start()
    assert replay.done and replay.sent == 250_000
    assert texts(captured) == [
        "sent 100,000 of 250,000 rows · 100,000 rows/s · 2 s left",
        "sent 200,000 of 250,000 rows · 100,000 rows/s · 0 s left",
        "sent 250,000 of 250,000 rows · 83,333 rows/s · 0 s left",
        "sent 250,000 rows in 3.0 s",
        "",
    ]


def test_a_short_send_shows_nothing_by_itself(kernel):
    with capture_output() as captured:
        replayed(FRAME, 0.1, None).start()
    assert captured.outputs == []


def test_in_a_terminal_a_replay_is_its_text(shell):
    replay = connections.current.stream_frame(FRAME, "numbers", key="id")
    with capture_output() as captured:
        replay._ipython_display_()
    assert captured.stdout == "Replay('numbers', 4 of 4 rows, done)\n"


def test_times_left_are_for_people():
    assert bar(1, 100, 1.0)["text/plain"].endswith("99 s left")
    assert bar(1, 1000, 1.0)["text/plain"].endswith("16 min 39 s left")
    assert bar(1, 10_000, 1.0)["text/plain"].endswith("2 h 46 min left")


# ---- completion


def test_options_complete_the_columns_of_the_query(run, shell):
    run(ORDERS)
    with provisionalcompleter():
        assert complete(shell, "%%ksql --sort pr|\nSELECT * FROM orders EMIT CHANGES;") == ["PRICE"]
        assert complete(shell, "%%ksql --sort price:d|\nSELECT * FROM orders EMIT CHANGES;") == ["desc"]
        assert complete(shell, "%%ksql --plot --x it|\nSELECT * FROM orders;") == ["ITEM"]
        assert complete(shell, "%%ksql --plot --y id,pr|\nSELECT * FROM orders;") == ["PRICE"]
        assert complete(shell, "%%ksql --plot --by=it| \nSELECT * FROM orders;") == ["ITEM"]
        assert complete(shell, "%%ksql --sort to|\nSELECT item, SUM(price) AS total FROM orders;") == [
            "TOTAL"
        ]
        assert complete(shell, "%ksql --sort pr| SELECT * FROM orders EMIT CHANGES;") == ["PRICE"]
        run("%kalam CREATE NAMESPACE app")
        run("%kalam CREATE TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='USER')")
        assert complete(shell, "%%kalam --live --sort bo|\nSELECT * FROM app.notes") == ["body"]
