"""A live table of a server that dies and comes back: what the reader sees meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from kalam_jupyter.client import connect

from .conftest import Lab, free_port
from .test_tour import LIVE, SECONDS, into_view, open_in_lab, picture, rows, run_all, write_notebook

PASSWORD = "RootPass123!"


@contextmanager
def serving(data: Path, port: int) -> Iterator[str]:
    """Run `kalam serve` on a directory until the block ends, then kill it."""
    words = ["serve", "--data", str(data), f"--kalam-port={port}", "--ksql-port=0"]
    environment = {**os.environ, "KALAMDB_ROOT_PASSWORD": PASSWORD, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "kalam_server.cli", *words]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        while "Ctrl+C" not in (line := server.stdout.readline()):
            assert line
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.timeout(180)
def test_a_live_table_says_that_it_reconnects_and_goes_on(page: Page, lab: Lab, tmp_path: Path):
    port = free_port()
    cells = (
        f"import os\nos.environ['ROOT'] = {PASSWORD!r}\n%load_ext kalam_jupyter\n"
        f"%kalam connect http://127.0.0.1:{port} --user root --password-env ROOT",
        "%%kalam\nCREATE NAMESPACE app;\nCREATE SHARED TABLE app.notes (id INT PRIMARY KEY, body TEXT);\n"
        "INSERT INTO app.notes VALUES (1, 'before');",
        "%%kalam --live\nSELECT id, body FROM app.notes",
    )
    with serving(tmp_path / "data", port):
        open_in_lab(page, lab, write_notebook(lab, "reconnect.ipynb", *cells))
        run_all(page)
        table = page.locator(LIVE)
        expect(rows(table)).to_have_text(["1before"], timeout=60 * SECONDS)
        into_view(page, "--live")
    badge, figures = table.locator(".klt-badge"), table.locator(".klt-numbers")
    expect(badge).to_have_text("reconnecting")
    expect(figures).to_have_text(f"cannot reach http://127.0.0.1:{port}: Connection refused; trying again")
    picture(page, "reconnecting")
    with serving(tmp_path / "data", port) as url:
        expect(badge).to_have_text("live", timeout=30 * SECONDS)
        with connect(url, user="root", password=PASSWORD) as connection:
            connection.kalam("INSERT INTO app.notes VALUES (2, 'after')")
        expect(rows(table)).to_have_text(["1before", "2after"])
        expect(figures).not_to_contain_text("trying again")
        picture(page, "reconnected")
        table.get_by_role("button", name="Stop").click()
        expect(badge).to_have_text("stopped")
