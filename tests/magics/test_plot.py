from __future__ import annotations

import pytest

from kalam_jupyter.magics.errors import UsageError
from kalam_jupyter.widgets import LiveChart, live_widgets

from .test_magics import ORDERS, WAIT_S


def test_a_push_query_is_drawn_live(run):
    run(ORDERS)
    chart = run("%%ksql --earliest --plot line --y price\nSELECT * FROM orders EMIT CHANGES;").value
    assert isinstance(chart, LiveChart) and chart.status == "running"
    assert chart.wait(rows=3, timeout=WAIT_S)
    assert (chart.encoding.kind, chart.encoding.y) == ("line", ("PRICE",))
    chart.stop()


def test_a_pull_query_is_drawn_once_by_its_key(run):
    run(ORDERS)
    chart = run("%%ksql --plot --y total\nSELECT * FROM revenue;").value
    assert (chart.status, chart.table().num_rows) == ("finished", 2)
    assert (chart.encoding.kind, chart.encoding.x, chart.encoding.y) == ("bar", "ITEM", ("TOTAL",))
    assert chart not in live_widgets()


def test_a_kalam_select_is_drawn_over_its_first_column_of_texts(run):
    run(ORDERS)
    chart = run("%%kalam --plot\nSELECT item, SUM(price) AS total FROM ksql.orders GROUP BY item").value
    assert (chart.encoding.x, chart.encoding.y) == ("item", ("total",))
    assert chart.title.startswith("SELECT item")


def test_texts_that_come_twice_are_no_key_of_a_plot(run):
    run(ORDERS)
    chart = run("%%ksql --plot --y price\nSELECT item, price FROM orders;").value
    assert chart.encoding.x == "" and chart.table().num_rows == 3


def test_a_drawn_result_is_assigned_as_rows(run, shell):
    run(ORDERS)
    assert isinstance(run("%%ksql --plot\nx << SELECT * FROM revenue;").value, LiveChart)
    assert shell.user_ns["x"].shape == (2, 3)


def test_once_draws_what_a_query_has_now(run):
    run(ORDERS)
    chart = run("%%ksql --earliest --once --plot bar\nSELECT * FROM revenue EMIT CHANGES;").value
    assert chart.status == "finished" and sorted(chart.frame().N) == [1, 2]


def test_a_column_that_is_not_there_is_told_with_a_near_name(run):
    run(ORDERS)
    with pytest.raises(UsageError, match=r"--plot: no column 'prize'; .* did you mean PRICE\?"):
        run("%%ksql --plot --y prize\nSELECT * FROM orders EMIT CHANGES;")
    assert live_widgets() == []


def test_rows_without_numbers_cannot_be_drawn(run):
    run(ORDERS)
    with pytest.raises(UsageError, match="no column with numbers"):
        run("%%ksql --plot\nSELECT item FROM orders;")


def test_windows_are_drawn_over_their_start_also_where_the_select_leaves_it_out(run):
    run(ORDERS)
    query = "SELECT item, COUNT(*) AS n FROM orders WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY item"
    chart = run(f"%%ksql --earliest --plot\n{query} EMIT CHANGES;").value
    assert (chart.encoding.x, chart.encoding.y, chart.encoding.by) == ("WINDOWSTART", ("N",), ("ITEM",))
    assert live_widgets() == [chart]
    chart.stop()
    run(f"%%ksql --earliest --plot --x item\n{query} EMIT CHANGES;").value.stop()
    run(f"%%ksql --earliest\nCREATE TABLE hourly AS {query};")
    for selected in ("SELECT item, n FROM hourly;", "SELECT item, WINDOWSTART, n FROM hourly;"):
        chart = run(f"%%ksql --plot\n{selected}").value
        assert (chart.encoding.x, chart.encoding.y, chart.encoding.by) == ("WINDOWSTART", ("N",), ("ITEM",))
    unwindowed = run("%%ksql --plot --y total\nSELECT item, total FROM revenue;").value
    assert unwindowed.encoding.x == "ITEM"
