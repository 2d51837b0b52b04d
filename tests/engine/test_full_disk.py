"""A log that cannot be written: the writer hears it, nothing is lost, readers go on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.errors import LogCorruptError, LogWriteError
from kalam_jupyter.engine.log import LogEntry
from tests.engine.support import USERS, WordCount, open_engine, topic_values, words


def limit_pages(engine: Engine, pages: int) -> None:
    """Let the log's database grow to so many pages: SQLite then says that the disk is full."""
    assert engine.storage is not None
    engine.storage._log._db.execute(f"PRAGMA max_page_count={pages}").fetchall()


def fill(engine: Engine) -> int:
    """Write until the disk is full; return the number of acknowledged writes."""
    limit_pages(engine, 1)  # as small as it can be: what it holds now
    for i in range(1_000):
        try:
            engine.transact(lambda tx, i=i: tx.upsert("users", [(i, "x" * 500, 0.0)]))
        except LogWriteError:
            return i
    raise AssertionError("the disk never was full")


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with open_engine(tmp_path / "e") as engine:
        engine.transact(lambda tx: tx.create_relation("users", USERS))
        yield engine


def test_a_full_disk_undoes_the_write_and_says_so(engine: Engine) -> None:
    subscription = engine.relation("users").subscribe()
    n = fill(engine)
    position, changes = engine.position, sum(c.num_changes for c in subscription.poll())
    with pytest.raises(LogWriteError, match="the log cannot be written"):
        engine.transact(lambda tx: (tx.upsert("users", [(0, "new" * 200, 1.0)]), tx.put("k", "a", 1)))
    assert engine.relation("users").count() == n == changes
    assert engine.relation("users").get((0,)) == (0, "x" * 500, 0.0)
    assert engine.catalogue.get("k", "a") is None
    assert engine.position == position and subscription.poll() == []


def test_writes_work_again_when_there_is_space(engine: Engine, tmp_path: Path) -> None:
    n = fill(engine)
    limit_pages(engine, 1_000_000)
    engine.transact(lambda tx: tx.insert("users", [(n, "again", 0.0)]))
    engine.close()
    with open_engine(tmp_path / "e") as again:
        assert again.relation("users").count() == n + 1
        assert again.relation("users").get((n,)) == (n, "again", 0.0)


def test_a_step_waits_for_space_and_is_not_computed_again(engine: Engine) -> None:
    processor = WordCount()

    def setup(tx: Any) -> None:
        tx.create_topic("words")
        tx.create_topic("counts")
        engine.add_processor(processor, "earliest")

    engine.transact(setup)
    engine.transact(lambda tx: tx.append("words", words(*(f"w{i}" * 50 for i in range(31)))))
    fill(engine)
    engine.start()
    assert not engine.settle(timeout=0.3)
    assert topic_values(engine, "counts") == []
    assert engine.processor_positions("word-count") == {"words": 0}
    limit_pages(engine, 1_000_000)
    assert engine.settle()
    assert len(topic_values(engine, "counts")) == 31
    assert len(processor.contexts) == 1 and processor.errors == []


_LIMITED = """
import resource, sys
from kalam_jupyter.engine.errors import LogWriteError
from tests.engine.support import USERS, open_engine
engine = open_engine(sys.argv[1])
engine.transact(lambda tx: tx.create_relation("users", USERS))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
for i in range(10_000):
    try:
        engine.transact(lambda tx: tx.insert("users", [(i, "x" * 500, 0.0)]))
    except LogWriteError as error:
        print(i, engine.relation("users").count())
        break
engine.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_files_that_cannot_grow_lose_nothing_acknowledged(tmp_path: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path / "e")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    acknowledged, seen = map(int, out.stdout.split())
    assert acknowledged == seen > 10
    with open_engine(tmp_path / "e") as engine:
        assert engine.relation("users").count() == acknowledged


def test_an_engine_that_cannot_be_opened_can_be_tried_again(tmp_path: Path) -> None:
    with open_engine(tmp_path / "e") as engine:
        engine.transact(lambda tx: tx.put("k", "a", 1))
        storage = engine.storage
        assert storage is not None
        storage._log.commit([LogEntry(engine.position + 1, b'[0, [["no such operation"]]]', ())])
        storage._log.close()
        shutil.copytree(tmp_path / "e", tmp_path / "broken")
    for _ in range(2):
        with pytest.raises(LogCorruptError, match="cannot be applied"):
            open_engine(tmp_path / "broken")
