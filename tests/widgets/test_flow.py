from __future__ import annotations

from kalam_jupyter.widgets.flow import WINDOW, FlowControl


def flow_after(frames: int) -> FlowControl:
    flow = FlowControl()
    for i in range(frames):
        flow.sent(i * flow.interval)
    return flow


def test_at_most_ten_frames_a_second():
    flow = FlowControl()
    assert flow.next(0.0) == "frame"
    flow.sent(0.0)
    assert flow.next(0.05) is None
    assert flow.next(0.1) == "frame"


def test_sequence_numbers_have_no_gaps():
    flow = FlowControl()
    assert [flow.sent(float(i)) for i in range(3)] == [1, 2, 3]


def test_nothing_is_sent_with_a_full_window_until_the_browser_acknowledges():
    flow = flow_after(WINDOW)
    now = WINDOW * flow.interval
    flow.acknowledge(0, now)
    assert not flow.open and flow.next(now + 1.0) is None
    flow.acknowledge(3, now + 1.0)
    assert flow.open and flow.next(now + 1.0) == "frame"


def test_in_silence_one_self_contained_frame_a_second():
    flow = flow_after(WINDOW)
    assert flow.next(10.0) == "alone"
    flow.sent(10.0)
    assert flow.next(10.9) is None
    assert flow.next(11.0) == "alone"


def test_a_browser_that_comes_back_from_silence_gets_everything():
    flow = flow_after(WINDOW)
    assert flow.next(10.0) == "alone"
    flow.acknowledge(flow.sent(10.0), 10.5)
    assert flow.next(10.5) == "restart"
    flow.sent(10.5)
    assert flow.next(10.6) == "frame"


def test_a_resync_opens_the_window_and_starts_afresh():
    flow = flow_after(WINDOW)
    flow.resync(5.0)
    assert flow.next(5.0) == "restart"
    flow.sent(5.0)
    assert flow.next(5.1) == "frame"


def test_hidden_and_paused_tables_get_nothing():
    flow = FlowControl()
    flow.set_visible(False)
    assert flow.next(100.0) is None
    flow.set_visible(True)
    flow.set_paused(True)
    assert flow.next(100.0) is None
    flow.set_paused(False)
    assert flow.next(100.0) == "frame"


def test_an_acknowledgement_of_the_future_is_not_believed():
    flow = flow_after(2)
    flow.acknowledge(1_000, 1.0)
    for i in range(WINDOW):
        flow.sent(2.0 + i)
    assert not flow.open
