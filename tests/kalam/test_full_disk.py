"""No space left: what is written beside the log fails clearly, leaves nothing behind, and works later."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kalam_jupyter.kalam import Kalam
from kalam_jupyter.kalam.catalog import JOB
from kalam_jupyter.kalam.jobs import Job
from tests.engine.support import open_engine
from tests.engine.test_full_disk import limit_pages
from tests.kalam.conftest import CONFIG


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_flush_export_backup_and_upload(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.kalam.full_disk", str(tmp_path / "e")]
    root = Path(__file__).parents[2]
    out = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout
    full, left, again = map(json.loads, out.splitlines())
    assert full.keys() == again.keys() == {"flush", "user_export", "backup", "upload"}
    for status, message in full.values():
        assert status == "failed" and "File too large" in message
    assert left == []
    assert [status for status, _ in again.values()] == ["completed"] * 4


def test_how_a_job_ended_is_recorded_once_there_is_space(tmp_path: Path) -> None:
    with open_engine(tmp_path / "e") as engine:
        kalam = Kalam(engine, CONFIG)

        class MakesSpace(threading.Event):
            """Waits for no time, in which somebody makes space."""

            waited = 0

            def wait(self, timeout: float | None = None) -> bool:
                self.waited += 1
                limit_pages(engine, 1_000_000)
                return self.is_set()

        def fill(job: Job) -> str:
            limit_pages(engine, 1)
            return "done " * 100_000  # does not fit

        kalam.jobs._closing = closing = MakesSpace()
        job_id = engine.transact(lambda tx: kalam.jobs.start(tx, "FL", "flush", {}, fill, key="once"))
        kalam.jobs.drain()
        assert closing.waited == 1
        assert engine.catalogue.get(JOB, job_id)["status"] == "completed"
        assert kalam.jobs.active("once") is None
        kalam.close()
