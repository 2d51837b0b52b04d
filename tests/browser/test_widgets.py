"""Widgets that are more than a live table: each answers, and looks right in both themes and both apps."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import Lab
from .test_tour import (
    SECONDS,
    into_view,
    menu,
    open_in_lab,
    picture,
    pictures,
    rows,
    run_all,
    write_notebook,
)

LOAD = """\
import kalam_jupyter, pandas as pd
%load_ext kalam_jupyter
%ksql connect :memory:"""
ORDERS = """\
%%ksql
CREATE STREAM orders (id INT KEY, item STRING, price DOUBLE)
  WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE revenue AS SELECT item, COUNT(*) AS n, SUM(price) AS total FROM orders
  WHERE price > 0 GROUP BY item;
INSERT INTO orders VALUES (1, 'tea', 2.5);
INSERT INTO orders VALUES (2, 'milk', 1.0);
INSERT INTO orders VALUES (3, 'tea', 3.5);"""
RECORDS = """\
records = [
    {"id": 1, "item": "tea", "price": 2.5, "ROWTIME": 1_000},
    {"id": 2, "item": "milk", "price": 1.0, "ROWTIME": 4_000},
    {"id": 3, "item": "tea", "price": 3.5, "ROWTIME": 12_500},
    {"id": 4, "item": "tea", "price": 1.0, "ROWTIME": 9_000},
    {"id": 5, "item": "milk", "price": 1.0, "ROWTIME": 31_000},
    {"id": 6, "item": "tea", "price": 1.0, "ROWTIME": 3_000},
]"""
STEP = """\
%%ksql --step --records records
SELECT item, COUNT(*) AS n, SUM(price) AS total FROM orders
WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 5 SECONDS) GROUP BY item EMIT CHANGES;"""
BOTH = ["lab/tree", "notebooks"]


def card(stepper: Locator, kind: str) -> Locator:
    return stepper.locator(".klt-card", has=stepper.page.get_by_text(kind, exact=True))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("app", BOTH)
def test_a_stepper_goes_forth_and_back_and_takes_records(page: Page, lab: Lab, app: str):
    name = f"step-{app[:3]}.ipynb"
    open_in_lab(page, lab, write_notebook(lab, name, LOAD, ORDERS, RECORDS, STEP), app=app)
    run_all(page)
    stepper = page.locator(".klt-stepper")
    expect(stepper).to_be_visible(timeout=60 * SECONDS)
    into_view(page, "--step")
    count, windows = stepper.locator(".klt-count"), card(stepper, "WINDOWED AGGREGATE")
    expect(count).to_have_text("0 of 6")
    for n in range(1, 4):
        stepper.get_by_role("button", name="Next").click()
        expect(count).to_have_text(f"{n} of 6")
    expect(windows.locator("header em")).to_have_text("opens a window")
    pictures(page, f"stepper-{app[:3]}-3")
    stepper.focus()
    page.keyboard.press("ArrowLeft")
    expect(count).to_have_text("2 of 6")
    page.keyboard.press("End")
    expect(windows.locator("header em")).to_have_text("late: its window is closed, left out")
    expect(stepper.locator(".klt-window.klt-closed")).to_have_count(3)
    expect(stepper.locator(".klt-result tbody tr")).to_have_count(4)

    stepper.get_by_label("ID", exact=True).fill("7")
    stepper.get_by_label("ITEM", exact=True).fill("milk")
    stepper.get_by_label("PRICE", exact=True).fill("4")
    stepper.get_by_label("ROWTIME", exact=True).fill("33000")
    stepper.get_by_role("button", name="Feed record").click()
    expect(count).to_have_text("7 of 7")
    expect(windows.locator("header em")).to_have_text("adds to a window")
    stepper.get_by_label("ID", exact=True).fill("seven")
    stepper.get_by_role("button", name="Feed record").click()
    expect(stepper.get_by_role("alert")).to_have_text("ID is INTEGER, and 'seven' is not")
    pictures(page, f"stepper-{app[:3]}-end")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("app", BOTH)
def test_a_topology_counts_what_goes_through(page: Page, lab: Lab, app: str):
    feed = """\
frame = pd.DataFrame({"id": range(100_000), "item": "tea", "price": 1.0})
replay = frame.kalam.to_stream("orders", rate=500)"""
    name = f"topology-{app[:3]}.ipynb"
    cells = (LOAD, ORDERS, "%ksql topology", feed, "%ksql EXPLAIN SELECT item FROM orders EMIT CHANGES;")
    open_in_lab(page, lab, write_notebook(lab, name, *cells), app=app)
    run_all(page)
    topology = page.locator(".klt-topology").first
    into_view(page, "ksql topology")
    source = topology.locator(".node").first.locator(".count")
    expect(source).to_have_text(re.compile(r"^3 in|\d\d+ in"), timeout=60 * SECONDS)
    expect(topology.locator(".rate").first).to_have_text(re.compile(r"^[\d,]+/s$"))
    expect(topology.locator(".klt-badge")).to_have_text("running")
    topology.locator(".node").first.focus()
    page.keyboard.press("ArrowDown")
    expect(topology.locator(".klt-details")).to_contain_text("(PRICE > 0)")
    pictures(page, f"topology-{app[:3]}")
    into_view(page, "EXPLAIN")
    plan = page.locator(".klt-topology").nth(1)
    expect(plan.locator(".klt-badge")).to_have_text("plan")


@pytest.mark.timeout(240)
def test_100_000_rows_are_scrolled_sorted_and_filtered(page: Page, lab: Lab):
    cells = (
        LOAD,
        """\
frame = pd.DataFrame({"k": [f"k{i % 1000}" for i in range(100_000)], "n": range(100_000)})
frame.kalam.to_stream("numbers", key="k")""",
        "%%ksql --earliest --rows 100000\nSELECT k, n FROM numbers EMIT CHANGES;",
        """\
%%ksql --earliest --rows 100000
SELECT n, LATEST_BY_OFFSET(k) AS k FROM numbers GROUP BY n EMIT CHANGES;""",
    )
    open_in_lab(page, lab, write_notebook(lab, "many.ipynb", *cells))
    run_all(page)
    into_view(page, "SELECT k, n")
    for table in (page.locator(".klt-live").nth(0), page.locator(".klt-live").nth(1)):
        expect(table.locator(".klt-numbers")).to_contain_text("100,000 shown", timeout=120 * SECONDS)
        box = table.locator(".klt-box")
        table.evaluate("e => e.scrollIntoView()")
        box.evaluate("e => { e.scrollTop = 0; }")
        expect(rows(table).first).to_contain_text("k0")
        box.focus()
        page.keyboard.press("End")
        expect(rows(table).last).to_contain_text("99999")
        assert table.locator("*").count() < 1_000
        table.locator("th", has_text="BIGINT").get_by_role("button").click()
        table.locator("th", has_text="BIGINT").get_by_role("button").click()
        box.evaluate("e => { e.scrollTop = 0; }")
        expect(rows(table).first).to_contain_text("99999")
        table.get_by_role("searchbox").fill("77777")
        expect(table.locator(".klt-numbers")).to_contain_text("1 of 100,000 shown")
        expect(rows(table)).to_have_count(1)
    picture(page, "many")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("app", BOTH)
def test_results_are_plotted(page: Page, lab: Lab, app: str):
    cells = (
        LOAD,
        ORDERS,
        "%%ksql --plot --y total --height 180\nSELECT * FROM revenue;",
        "%%kalam --plot bar --height 180\nSELECT item, COUNT(*) AS orders FROM ksql.orders GROUP BY item;",
        "%%ksql --earliest --plot line --y price --height 180\nSELECT * FROM orders EMIT CHANGES;",
    )
    open_in_lab(page, lab, write_notebook(lab, f"plots-{app[:3]}.ipynb", *cells), app=app)
    run_all(page)
    charts = page.locator(".klt-live canvas")
    expect(charts).to_have_count(3, timeout=60 * SECONDS)
    expect(charts.nth(1)).to_have_attribute("aria-label", re.compile("^bar chart, 1 series"))
    into_view(page, "--plot --y")
    expect(page.locator(".klt-live .klt-badge").first).to_have_text("finished")
    pictures(page, f"plots-{app[:3]}")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("app", ["lab/tree", "notebooks"])
def test_a_saved_notebook_shows_its_widgets_to_another_kernel(page: Page, lab: Lab, app: str):
    live = "%%ksql --earliest\nSELECT * FROM revenue EMIT CHANGES;"
    plot = "%%ksql --plot --y total\nSELECT * FROM revenue;"
    topology = "t = kalam_jupyter.widgets.Topology('SELECT * FROM orders EMIT CHANGES;')\nt"
    name = f"saved-{app[:3]}.ipynb"
    cells = (
        LOAD,
        ORDERS,
        RECORDS,
        STEP,
        topology,
        plot,
        live,
        "live = _\nlive.wait(rows=3, timeout=30); live.stop()",
    )
    open_in_lab(page, lab, write_notebook(lab, name, *cells), app=app)
    run_all(page)
    expect(page.locator(".klt-live").last.locator(".klt-badge")).to_have_text("stopped", timeout=60 * SECONDS)
    menu(page, "File", "docmanager:save")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    headers = {"Authorization": f"token {lab.token}"}
    for session in page.request.get(f"{lab.url}api/sessions", headers=headers).json():
        page.request.delete(f"{lab.url}api/sessions/{session['id']}", headers=headers)
    page.goto("about:blank")
    page.goto(lab.notebook(name, app=app))
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=60 * SECONDS)
    expect(page.locator(".klt-snapshot")).to_have_count(4, timeout=60 * SECONDS)
    lost = page.get_by_text("model not found")
    expect(lost).to_have_count(4)
    for one in lost.all():
        expect(one).to_be_hidden()
    into_view(page, "--plot")
    picture(page, f"saved-{app[:3]}")


@pytest.mark.timeout(180)
def test_a_page_that_comes_late_shows_all_that_is_retained(page: Page, lab: Lab):
    feed = 'pd.DataFrame({"k": ["a", "b"], "n": [1, 2]}).kalam.to_stream("late", key="k")'
    live = "%%ksql --earliest\nSELECT k, n FROM late EMIT CHANGES;"
    stop = "live = _\nlive.wait(rows=2, timeout=30); live.stop()"
    cells = (LOAD, feed, live, stop, live)
    open_in_lab(page, lab, write_notebook(lab, "late.ipynb", *cells))
    run_all(page)
    both = [page.locator(".klt-live").nth(0), page.locator(".klt-live").nth(1)]
    for table in both:
        expect(rows(table)).to_have_count(2, timeout=60 * SECONDS)
    menu(page, "File", "docmanager:save")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    page.goto("about:blank")
    page.goto(lab.notebook("late.ipynb"))
    for table, status in zip(both, ("stopped", "live"), strict=True):
        expect(table.locator(".klt-badge")).to_have_text(status, timeout=60 * SECONDS)
        expect(rows(table)).to_have_count(2)
