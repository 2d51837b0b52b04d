from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import Lab
from .test_tour import SECONDS, open_in_lab, picture, run_all, wear, write_notebook

CHART = ".klt-live:has(canvas)"
# A keyed table as bars, and the rows of its stream as lines, from an engine in the kernel.
MOVING = (
    """\
import kalam_jupyter, pandas as pd
from kalam_jupyter.widgets import LiveChart
connection = kalam_jupyter.connect(":memory:")
frame = pd.DataFrame({"k": [f"k{i % 5}" for i in range(200_000)], "n": range(200_000)})
connection.stream_frame(frame.head(1), "numbers", key="k")""",
    'LiveChart(connection.push("SELECT k, COUNT(*) AS c FROM numbers GROUP BY k EMIT CHANGES;"))',
    'LiveChart(connection.push("SELECT k, n FROM numbers EMIT CHANGES;"), by="k", max_rows=500)',
    'replay = connection.stream_frame(frame, "numbers", key="k", rate=500)',
)
PIXELS = "c => c.toDataURL()"


def moves(chart: Locator) -> bool:
    """Whether the drawing changes; waits for the next figures in the footer."""
    canvas, figures = chart.locator("canvas"), chart.locator(".klt-numbers")
    before, said = canvas.evaluate(PIXELS), figures.inner_text()
    expect(figures).not_to_have_text(said)
    return bool(canvas.evaluate(PIXELS) != before)


@pytest.mark.timeout(180)
def test_a_live_chart_moves_pauses_reads_out_and_stops(page: Page, lab: Lab):
    open_in_lab(page, lab, write_notebook(lab, "chart.ipynb", *MOVING))
    run_all(page)
    bars, lines = page.locator(CHART).nth(0), page.locator(CHART).nth(1)
    expect(lines.locator(".klt-series")).to_have_count(5, timeout=60 * SECONDS)
    lines.scroll_into_view_if_needed()
    for theme in ("Dark", "Light"):
        wear(page, theme)
        assert moves(lines)
        picture(page, f"chart-{theme.lower()}")

    bars.get_by_role("button", name="Pause").click()
    expect(bars.locator(".klt-badge")).to_have_text("paused")
    bars.locator("canvas").focus()
    page.keyboard.press("End")
    expect(bars.locator(".klt-tip b")).to_have_text(re.compile(r"k\d"))
    bars.get_by_role("combobox", name="Kind of chart").select_option("points")
    expect(bars.locator("canvas")).to_have_attribute("aria-label", re.compile("^points chart"))

    switch = lines.get_by_role("button", name="k3")
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "false")
    lines.get_by_role("button", name="Stop").click()
    expect(lines.locator(".klt-badge")).to_have_text("stopped")
