"""A live table under 100,000 rows a second in a real JupyterLab: is the browser fluid, memory flat?

The engine is the server's, so that the kernel holds nothing but its client and the table.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from pathlib import Path

import nbformat

from tests.benchmarks.report import Report

ROWS_PER_SECOND = 100_000
SECONDS = 8
CELLS = (
    f"""\
import kalam_jupyter, pandas as pd, resource
from pathlib import Path
%load_ext kalam_jupyter
rows = {ROWS_PER_SECOND * (SECONDS + 6)}
frame = pd.DataFrame({{"k": [f"k{{i % 1000}}" for i in range(rows)], "n": range(rows), "x": 0.5}})
def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
frame.head(1).kalam.to_stream("flood", key="k")""",
    "%%ksql\nSELECT * FROM flood EMIT CHANGES;",
    "live = _",
    f'replay = frame.kalam.to_stream("flood", key="k", rate={ROWS_PER_SECOND})',
    """\
import time
sizes = []
while not replay.done and len(sizes) < 100:
    time.sleep(0.1)
    sizes.append(megabytes())
print(f"sizes {max(sizes[20:40]):.1f} {max(sizes[-20:]):.1f}")""",
)
GAPS = """\
(milliseconds) => new Promise((done) => {
  const gaps = [];
  let last = performance.now();
  const until = last + milliseconds;
  const look = (now) => {
    gaps.push(now - last);
    last = now;
    if (now < until) requestAnimationFrame(look); else done(gaps.slice(1));
  };
  requestAnimationFrame(look);
})"""


def main() -> int:
    """Measure, in one JupyterLab and one Chromium."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import ARGUMENTS, CHROMIUM, running_lab

    report = Report("widgets")
    if CHROMIUM is None:
        report.add("no Chromium here", 0, "")
        return report.finish()
    with (
        tempfile.TemporaryDirectory() as home,
        running_lab(Path(home)) as lab,
        sync_playwright() as playwright,
    ):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
        notebook.metadata = {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
        nbformat.write(notebook, lab.root / "flood.ipynb")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(lab.notebook("flood.ipynb"))
        page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first.wait_for(
            state="attached", timeout=60_000
        )
        quiet = page.evaluate(GAPS, 2_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
        numbers = page.locator(".klt-live .klt-numbers")
        numbers.filter(has_text=re.compile(r"[1-9]\d,\d\d\d rows/s")).wait_for(timeout=60_000)
        busy = page.evaluate(GAPS, SECONDS * 1_000)
        said = numbers.inner_text()
        output = page.locator(".jp-OutputArea-output", has_text="sizes")
        output.wait_for(timeout=60_000)
        early, late = map(float, output.inner_text().split()[1:3])
        browser.close()
    rate = int(re.search(r"([\d,]+) rows/s", said).group(1).replace(",", ""))  # type: ignore[union-attr]
    worst, typical = statistics.quantiles(busy, n=100)[98], statistics.median(busy)
    usual = statistics.median(quiet)
    report.add("rows a second into the live table", rate, "rows/s", "100,000", rate > 90_000, said)
    report.add("time between two repaints, median", typical, "ms", note=f"{usual:.1f} when quiet")
    report.add("time between two repaints, 99th percentile", worst, "ms", "< 200", worst < 200)
    report.add("time between two repaints, longest", max(busy), "ms", "< 500", max(busy) < 500)
    report.add("kernel's memory, last 2 s against 2 to 4 s", late / early, "x", "< 1.1", late < 1.1 * early)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
