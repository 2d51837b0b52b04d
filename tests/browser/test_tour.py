from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import Lab

ROOT = Path(__file__).resolve().parent.parent.parent
TOUR = ROOT / "notebooks" / "00_tour.ipynb"
PICTURES = ROOT / "test-results"
SECONDS = 1_000
LIVE = ".klt-live"


@pytest.fixture
def tour(lab: Lab) -> str:
    """The tour as it is committed, in the Lab's folder."""
    shutil.copy(TOUR, lab.root / TOUR.name)
    return TOUR.name


def write_notebook(lab: Lab, name: str, *cells: str) -> str:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(notebook, lab.root / name)
    return name


def open_in_lab(page: Page, lab: Lab, name: str, *, app: str = "lab/tree") -> None:
    """Open a notebook and wait until its kernel is ready."""
    page.goto(lab.notebook(name, app=app))
    expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=60 * SECONDS)
    expect(page.locator(".jp-Toolbar-kernelName").first).to_contain_text("Python 3", timeout=60 * SECONDS)
    ready = page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first
    expect(ready).to_be_attached(timeout=60 * SECONDS)


def menu(page: Page, name: str, command: str) -> None:
    page.get_by_role("menuitem", name=name, exact=True).click()
    page.locator(f".lm-Menu-item[data-command='{command}']").click()


def run_all(page: Page) -> None:
    menu(page, "Run", "runmenu:run-all")


def wear(page: Page, theme: str) -> None:
    """Change the theme, with everything that is in the page."""
    change = "theme => jupyterapp.commands.execute('apputils:change-theme', { theme: `JupyterLab ${theme}` })"
    page.evaluate(change, theme)
    light = str(theme == "Light").lower()
    expect(page.locator(f"body[data-jp-theme-light='{light}']")).to_be_attached()


def rows(table: Locator) -> Locator:
    return table.locator("tbody tr:not(.klt-space)")


def rows_in(table: Locator) -> int:
    found = re.search(r"([\d,]+) in", table.locator(".klt-numbers").inner_text())
    assert found is not None
    return int(found.group(1).replace(",", ""))


def into_view(page: Page, text: str) -> None:
    """Scroll to the cell with `text`; its output may be made again at any moment, the cell is not."""
    page.locator(".jp-CodeCell", has_text=text).first.evaluate("e => e.scrollIntoView()")


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=str(PICTURES / f"{name}.png"))


def pictures(page: Page, name: str) -> None:
    """Take a picture in each theme; the light one stays."""
    for theme in ("Dark", "Light"):
        wear(page, theme)
        picture(page, f"{name}-{theme.lower()}")


FILLING = (
    """\
import kalam_jupyter, pandas as pd
%load_ext kalam_jupyter
%ksql connect :memory:
frame = pd.DataFrame({"k": [f"k{i % 7}" for i in range(1_000_000)], "n": range(1_000_000)})
frame.head(1).kalam.to_stream("numbers", key="k")""",
    """\
%%ksql
SELECT k, n FROM numbers EMIT CHANGES;""",
    """\
%%ksql --sort n:desc
SELECT k, COUNT(*) AS n FROM numbers GROUP BY k EMIT CHANGES;""",
    """\
replay = frame.kalam.to_stream("numbers", key="k", rate=2_000)""",
)


@pytest.mark.timeout(240)
def test_the_tour_runs_in_jupyterlab(page: Page, lab: Lab, tour: str):
    page.set_viewport_size({"width": 1180, "height": 1240})
    open_in_lab(page, lab, tour)
    page.keyboard.press("Control+b")  # the sidebar away: more room for the picture
    menu(page, "Edit", "editmenu:clear-all")
    run_all(page)
    late = page.locator(LIVE).first
    expect(late).to_be_visible(timeout=60 * SECONDS)
    into_view(page, "late_now <<")
    expect(rows(late).first).to_be_visible(timeout=60 * SECONDS)
    expect(page.locator(LIVE).nth(1).locator("tbody tr:not(.klt-space)").nth(5)).to_be_visible()
    picture(page, "tour-live")
    last = page.locator(".jp-Notebook .jp-CodeCell").last
    expect(last.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=120 * SECONDS)
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    into_view(page, "late_now <<")
    expect(late.locator(".klt-badge")).to_have_text("stopped")
    picture(page, "tour-stopped")


@pytest.mark.timeout(180)
def test_a_live_table_fills_pauses_resumes_and_stops(page: Page, lab: Lab):
    open_in_lab(page, lab, write_notebook(lab, "fills.ipynb", *FILLING))
    run_all(page)
    tail, counts = page.locator(LIVE).nth(0), page.locator(LIVE).nth(1)
    expect(rows(tail).nth(8)).to_be_visible(timeout=60 * SECONDS)
    expect(rows(counts)).to_have_count(7)
    picture(page, "live")

    tail.get_by_role("button", name="Pause").click()
    expect(tail.locator(".klt-badge")).to_have_text("paused")
    frozen = rows(tail).all_inner_texts()
    before = rows_in(tail)
    expect(counts.locator("tbody")).not_to_have_text(counts.locator("tbody").inner_text())
    assert rows(tail).all_inner_texts() == frozen
    picture(page, "paused")
    tail.get_by_role("button", name="Resume").click()
    expect(tail.locator(".klt-badge")).to_have_text("live")
    expect(tail.locator("tbody")).not_to_have_text("\n".join(frozen))
    page.wait_for_function(
        "([selector, before]) => parseInt(document.querySelector(selector).textContent"
        ".match(/([\\d,]+) in/)[1].replaceAll(',', '')) > before",
        arg=[f"{LIVE} .klt-numbers", before],
    )

    tail.get_by_role("button", name="Stop").click()
    expect(tail.locator(".klt-badge")).to_have_text("stopped")
    expect(tail.get_by_role("button", name="Stop")).to_be_hidden()
    picture(page, "stopped")


@pytest.mark.timeout(180)
def test_a_live_table_is_sorted_and_filtered_by_keyboard(page: Page, lab: Lab):
    open_in_lab(
        page,
        lab,
        write_notebook(
            lab, "sorts.ipynb", *FILLING[:3], "frame.head(70).kalam.to_stream('numbers', key='k')"
        ),
    )
    run_all(page)
    counts = page.locator(LIVE).nth(1)
    expect(rows(counts)).to_have_count(7, timeout=60 * SECONDS)
    counts.locator("th").first.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(counts.locator("th").first).to_have_attribute("aria-sort", "ascending")
    assert [text.split()[0] for text in rows(counts).all_inner_texts()] == [f"k{i}" for i in range(7)]
    counts.get_by_role("searchbox").fill("k3")
    expect(rows(counts)).to_have_count(1)
    expect(counts.locator(".klt-numbers")).to_contain_text("1 of 7 shown")
    counts.get_by_role("searchbox").fill("nothing")
    expect(counts.get_by_text("No row matches the filter.")).to_be_visible()


@pytest.mark.timeout(180)
def test_a_wide_column_takes_the_room_there_is(page: Page, lab: Lab):
    cells = (FILLING[0], "%ksql PRINT 'NUMBERS' FROM BEGINNING LIMIT 1;")
    open_in_lab(page, lab, write_notebook(lab, "wide.ipynb", *cells))
    run_all(page)
    record = rows(page.locator(LIVE)).first.locator("td").first
    expect(record).to_contain_text("value: {", timeout=60 * SECONDS)
    assert record.evaluate("cell => cell.scrollWidth <= cell.clientWidth")


@pytest.mark.timeout(180)
def test_a_live_table_goes_on_during_a_long_cell(page: Page, lab: Lab):
    cells = (*FILLING, "import time\ntime.sleep(8)", "1 + 1")
    open_in_lab(page, lab, write_notebook(lab, "busy.ipynb", *cells))
    run_all(page)
    tail = page.locator(LIVE).first
    expect(rows(tail).nth(3)).to_be_visible(timeout=60 * SECONDS)
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status='busy']").first).to_be_attached()
    first = tail.locator("tbody").inner_text()
    expect(tail.locator("tbody")).not_to_have_text(first)
    assert page.locator(".jp-Notebook .jp-CodeCell").last.locator(".jp-InputPrompt").inner_text() == "[*]:"


@pytest.mark.timeout(180)
def test_without_connect_the_engine_is_the_servers(page: Page, lab: Lab):
    load, *others = FILLING
    cells = (load.replace("%ksql connect :memory:\n", ""), *others, "%ksql connections")
    open_in_lab(page, lab, write_notebook(lab, "remote.ipynb", *cells))
    run_all(page)
    expect(rows(page.locator(LIVE).first).nth(5)).to_be_visible(timeout=60 * SECONDS)
    expect(rows(page.locator(LIVE).nth(1))).to_have_count(7)
    expect(page.locator(".jp-CodeCell").last.locator(".jp-OutputArea")).to_contain_text(
        f":{urlsplit(lab.url).port}"
    )
    page.locator(LIVE).first.get_by_role("button", name="Stop").click()
    expect(page.locator(LIVE).first.locator(".klt-badge")).to_have_text("stopped")


@pytest.mark.timeout(120)
def test_a_live_table_fits_the_dark_theme(page: Page, lab: Lab):
    open_in_lab(page, lab, write_notebook(lab, "dark.ipynb", *FILLING))
    wear(page, "Dark")
    run_all(page)
    table = page.locator(LIVE).first
    expect(rows(table).nth(5)).to_be_visible(timeout=60 * SECONDS)
    luminance = "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    assert max(table.evaluate(luminance)) < 100
    picture(page, "dark")
    wear(page, "Light")


@pytest.mark.timeout(120)
def test_a_live_table_works_in_notebook_7(page: Page, lab: Lab):
    open_in_lab(page, lab, write_notebook(lab, "seven.ipynb", *FILLING), app="notebooks")
    run_all(page)
    expect(rows(page.locator(LIVE).first).nth(5)).to_be_visible(timeout=60 * SECONDS)
    picture(page, "notebook7")


@pytest.mark.timeout(120)
def test_a_notebook_opened_without_its_kernel_still_shows_its_tables(page: Page, lab: Lab, tour: str):
    open_in_lab(page, lab, tour)
    snapshots = page.locator("table.klt-snapshot")
    saved = json.loads(TOUR.read_text(encoding="utf-8"))
    live = [cell for cell in saved["cells"] if "live" in cell["metadata"].get("tags", ())]
    expect(snapshots).to_have_count(len(live), timeout=30 * SECONDS)
    assert page.locator(LIVE).count() == 0
    into_view(page, "late_now <<")
    picture(page, "reopened")
