"""The JupyterLab extension: the Streams panel, its commands, and coloured cells."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from .conftest import Lab
from .test_tour import SECONDS, open_in_lab, picture, pictures, run_all, wear, write_notebook

SHARED = """\
CREATE STREAM IF NOT EXISTS clicks (who STRING KEY, page STRING)
  WITH (KAFKA_TOPIC='clicks', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE IF NOT EXISTS visits AS SELECT who, COUNT(*) AS n FROM clicks GROUP BY who;
INSERT INTO clicks VALUES ('ada', '/home');"""
OWN = (
    """\
%load_ext kalam_jupyter
%ksql connect :memory:
import kalam_jupyter, time
replay = kalam_jupyter.generate("orders", 20_000, rate=200)""",
    """\
%%ksql
CREATE TABLE totals AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;""",
    "time.sleep(8)",
    "replay.stop()",
)

COLOURS = """cell => Object.fromEntries([...cell.querySelectorAll('[class^=kj-]')].map(
    span => [span.className, getComputedStyle(span.firstElementChild ?? span).color]))"""
SQL = "%%ksql --limit 3\nSELECT who, 'x' FROM clicks -- all of them\nEMIT CHANGES;"


@pytest.fixture
def shared(lab: Lab) -> Iterator[None]:
    """A stream and a query in the server's own engine."""
    send(lab, SHARED)
    yield
    send(lab, "DROP TABLE IF EXISTS visits; DROP STREAM IF EXISTS clicks DELETE TOPIC;")


def send(lab: Lab, statements: str) -> None:
    headers = {"Authorization": f"token {lab.token}", "Content-Type": "application/json"}
    body = json.dumps({"ksql": statements}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{lab.url}ksql", body, headers), timeout=30).close()


def command(page: Page, label: str) -> None:
    """By the command palette, which Notebook has as well as Lab."""
    page.keyboard.press("Control+Shift+c")
    page.locator(".lm-CommandPalette-input").fill(label)
    page.locator(".lm-CommandPalette-item", has_text=label).first.click()


def show_panel(page: Page) -> None:
    command(page, "Show Streams")
    expect(page.locator(".kj-panel")).to_be_visible()


def unfold(page: Page, title: str) -> None:
    page.locator(".kj-panel summary", has_text=title).first.click()


@pytest.mark.timeout(180)
def test_lists_peeks_inserts_a_select_and_stops_a_query(page: Page, lab: Lab, shared: None):
    open_in_lab(page, lab, write_notebook(lab, "panel.ipynb", "1 + 1"))
    show_panel(page)
    panel = page.locator(".kj-panel")
    query = panel.locator(".kj-query", has_text="CTAS_VISITS")
    expect(query.locator(".kj-figures")).to_contain_text("1 record")

    expect(panel.locator(".kj-namespace > summary", has_text="ksql").locator(".kj-count")).to_have_text("2")
    panel.locator(".kj-relation > summary", has_text="CLICKS").click()
    expect(panel.locator(".kj-relation", has_text="CLICKS").locator(".kj-column")).to_have_count(2)
    unfold(page, "Topics")
    peek = panel.get_by_role("button", name="Peek at clicks")
    peek.focus()
    page.keyboard.press("Enter")
    expect(panel.locator(".kj-peek .kj-record")).to_contain_text("/home")
    send(lab, "INSERT INTO clicks VALUES ('ada', '/cart');")
    expect(query.locator(".kj-figures")).to_contain_text("2 records")
    expect(peek).to_be_focused()  # the panel was painted again
    pictures(page, "panel")

    panel.locator(".kj-relation > summary", has_text="CLICKS").get_by_role("button").click()
    inserted = page.locator(".jp-Notebook .jp-CodeCell").nth(1).locator(".cm-content")
    expect(inserted).to_have_text(re.compile("%%ksql.*SELECT \\* FROM clicks EMIT CHANGES;", re.S))

    stop = query.get_by_role("button", name=re.compile("Stop query CTAS_VISITS"))
    stop.click()
    page.get_by_role("button", name="Cancel").click()
    expect(query).to_have_count(1)
    stop.click()
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    expect(query).to_have_count(0)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("app", ["lab/tree", "notebooks"])
def test_shows_the_engine_in_the_kernel_while_a_cell_runs(page: Page, lab: Lab, shared: None, app: str):
    name = f"own-{app.split('/')[0]}.ipynb"
    open_in_lab(page, lab, write_notebook(lab, name, *OWN), app=app)
    show_panel(page)
    run_all(page)
    panel = page.locator(".kj-panel")
    engine = panel.get_by_role("combobox", name="Engine")
    expect(engine).to_have_value(name, timeout=60 * SECONDS)
    query = panel.locator(".kj-query", has_text="CTAS_TOTALS")
    expect(query.locator(".kj-figures")).to_contain_text(re.compile(r"[1-9]\d*/s"), timeout=30 * SECONDS)
    picture(page, f"panel-kernel-{app.split('/')[0]}")
    engine.select_option("Jupyter server")
    expect(panel.locator(".kj-query", has_text="CTAS_VISITS")).to_be_visible()
    engine.select_option(name)
    query.get_by_role("button", name=re.compile("Stop query CTAS_TOTALS")).click()
    page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True).click()
    expect(query).to_have_count(0, timeout=30 * SECONDS)


@pytest.mark.timeout(120)
def test_colours_sql_cells_and_only_those(page: Page, lab: Lab):
    open_in_lab(page, lab, write_notebook(lab, "colours.ipynb", SQL, "x = 1  # SELECT"))
    cells = page.locator(".jp-Notebook .jp-CodeCell .cm-content")
    expect(cells.first.locator(".kj-keyword").first).to_have_text("SELECT")
    assert "".join(cells.first.locator(".kj-option").all_inner_texts()) == "--limit"
    expect(cells.nth(1).locator("[class^=kj-]")).to_have_count(0)
    kinds = ["kj-keyword", "kj-string", "kj-comment", "kj-text"]
    for theme in ("Dark", "Light"):
        wear(page, theme)
        colours = cells.first.evaluate(COLOURS)
        assert len({colours[kind] for kind in kinds}) == len(kinds), colours
        picture(page, f"highlight-{theme.lower()}")


@pytest.mark.timeout(120)
def test_commands_insert_cells_and_settings_are_offered(page: Page, lab: Lab, shared: None):
    open_in_lab(page, lab, write_notebook(lab, "commands.ipynb", "1 + 1"))
    command(page, "Insert %%kalam Cell")
    expect(page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1)).to_contain_text("%%kalam")
    show_panel(page)
    expect(page.locator(".kj-query")).to_have_count(1)
    command(page, "Stop All Streaming Queries")
    page.get_by_role("dialog").get_by_role("button", name="Stop all").click()
    expect(page.locator(".kj-query")).to_have_count(0)
    answer = page.request.get(
        f"{lab.url}lab/api/settings/kalam-jupyter:panel", headers={"Authorization": f"token {lab.token}"}
    )
    assert set(answer.json()["schema"]["properties"]) == {"interval", "confirmStop", "followNotebook"}
