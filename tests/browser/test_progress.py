"""Progress as people see it: there while something takes long, gone or one line afterwards."""

from __future__ import annotations

import nbformat
import pytest
from playwright.sync_api import Page, expect

from .conftest import Lab
from .test_tour import SECONDS, menu, open_in_lab, pictures, run_all, write_notebook

LOAD = """\
import threading, kalam_jupyter, pandas as pd
from pathlib import Path
@kalam_jupyter.udf
def held(v: int) -> int:
    while not Path("go").exists():
        threading.Event().wait(0.05)
    return v
%load_ext kalam_jupyter
%ksql connect :memory:"""
STREAM = """\
%%ksql
CREATE STREAM x (id INT KEY, v INT) WITH (KAFKA_TOPIC='x', VALUE_FORMAT='JSON', PARTITIONS=1);
INSERT INTO x VALUES (1, 2);"""
HELD = """\
%%ksql --once --earliest
SELECT id, held(v) AS v FROM x EMIT CHANGES;"""
REPLAY = """\
frame = pd.DataFrame({"id": range(100_000), "v": range(100_000)})
replay = frame.kalam.to_stream("numbers", key="id", rate=40)
replay"""
STOP = "replay.stop(); replay.wait()"


@pytest.mark.timeout(180)
def test_progress_is_seen_while_it_lasts(page: Page, lab: Lab):
    name = write_notebook(lab, "progress.ipynb", LOAD, STREAM, REPLAY, HELD, STOP)
    (lab.root / "go").unlink(missing_ok=True)
    open_in_lab(page, lab, name)
    run_all(page)

    line = page.locator(".klt-waiting")
    expect(line).to_contain_text("SELECT id, held(v) AS v FROM x EMIT CHANGES", timeout=60 * SECONDS)
    expect(line).to_contain_text("interrupt the kernel to stop it")
    expect(line).to_contain_text("3 s")
    bar = page.locator(".klt-progress")
    expect(bar).to_contain_text("of 100,000 rows")
    before = bar.locator("progress").get_attribute("value")
    expect(bar.locator("progress")).not_to_have_attribute("value", before or "")
    pictures(page, "progress")

    (lab.root / "go").touch()
    expect(line).to_have_count(0)
    expect(page.locator(".dataframe")).to_be_visible()
    expect(page.get_by_text("stopped after").first).to_be_visible()
    expect(bar).to_have_count(0)
    pictures(page, "progress-after")

    menu(page, "File", "docmanager:save")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    saved = (lab.root / name).read_text()
    assert "klt-waiting" not in saved
    assert "stopped after" in "".join(
        str(cell.outputs) for cell in nbformat.reads(saved, 4).cells if cell.source == REPLAY
    )
