"""kill -9 at random moments, again and again over one path."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kalam_jupyter.engine import Engine, Topic
from tests.engine.crash_writer import KINDS, TABLES, add_processors, table_records
from tests.engine.support import WordCount, open_engine, topic_values

ROOT = Path(__file__).parents[2]
KILLS = 22


class Model:
    """What the acknowledged writes add up to."""

    def __init__(self) -> None:
        self.next = 0
        self.users: dict[int, tuple[Any, ...]] = {}
        self.bulk: set[int] = set()
        self.words: list[str] = []
        self.table: list[tuple[str, str | None]] = []

    def apply(self, n: int, kind: str, key: int) -> None:
        assert n == self.next + 1
        self.next = n
        if kind == "word":
            self.words += [f"w{key}", f"n{n}"]
        elif kind == "insert":
            self.users[1_000 + n] = (1_000 + n, f"n{n}", 0.5)
        elif kind == "update":
            for k in (key, key + 20):
                self.users[k] = (k, f"n{n}", float(n))
        elif kind == "delete":
            for k in (key, key + 20):
                self.users.pop(k, None)
        elif kind == "bulk":
            self.bulk |= {i + n * 1_000 for i in range(300)}
        elif kind == "table":
            self.table += table_records(n, key)
        elif kind == "many":
            self.words += [f"n{n}-{i}" for i in range(5)]

    def check(self, engine: Engine) -> None:
        users = {row[0]: row for row in engine.relation("users").snapshot().rows()}
        assert users == self.users
        assert all(engine.relation("users").get((k,)) == row for k, row in self.users.items())
        ids = engine.relation("bulk").snapshot().table().column("id").to_pylist()
        assert len(ids) == len(set(ids)) and set(ids) == self.bulk
        topic = engine.topic("words")
        records = topic.read_partition(0, 0, 1 << 30)
        assert [r.value.decode() for r in records if r.value is not None] == self.words
        assert [r.offset for r in records] == list(range(len(self.words)))

        for name in TABLES:
            self.check_table(engine.topic(name))

    def check_table(self, topic: Topic) -> None:
        """What stayed is where it was, and makes the same table."""
        assert topic.end_sequence == len(self.table)
        table: dict[str, str] = {}
        for record in topic.read_partition(0, 0, 1 << 30):
            assert record.key is not None
            key, value = record.key.decode(), None if record.value is None else record.value.decode()
            assert self.table[record.offset] == (key, value)
            _put(table, key, value)
        expected: dict[str, str] = {}
        for key, value in self.table:
            _put(expected, key, value)
        assert table == expected

    def check_counts(self, engine: Engine, processor: WordCount) -> None:
        """State and output of the processor, once it has consumed everything."""
        seen: Counter[str] = Counter()
        expected = []
        for word in self.words:
            seen[word] += 1
            expected.append(((word,), (seen[word],)))
        assert topic_values(engine, "counts") == expected
        assert processor.counts == dict(seen)


def _put(table: dict[str, str], key: str, value: str | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def run_and_kill(path: Path, seed: int, rng: random.Random) -> list[list[str]]:
    """Run a writer, kill it a random while after some writes; return what it acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.crash_writer", str(path), str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(1 + int(rng.choice([0, 3, 30, 60]) * rng.random()))]
    timer = threading.Timer(0.03 * rng.random(), os.kill, (writer.pid, signal.SIGKILL))
    timer.start()
    lines += writer.stdout.readlines()
    writer.wait()
    timer.cancel()
    assert writer.returncode == -signal.SIGKILL, "the writer ended by itself"
    return [line.split() for line in lines if line.endswith("\n")]


@pytest.mark.crash
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_every_acknowledged_write_survives_kill_9_once(tmp_path: Path) -> None:
    seed = int(os.environ.get("KALAM_CRASH_SEED", random.SystemRandom().getrandbits(32)))
    print(f"KALAM_CRASH_SEED={seed}")  # shown when it fails
    rng = random.Random(seed)
    path, model, done = tmp_path / "engine", Model(), 0
    for kill in range(KILLS):
        writer_seed = rng.getrandbits(32)
        lines = run_and_kill(path, writer_seed, rng)
        opened = lines[0] if lines else ["open", str(model.next)]
        assert opened == ["open", str(model.next)]
        for _, n, kind, key in lines[1:]:
            model.apply(int(n), kind, int(key))
            done += 1
        with open_engine(path) as engine:
            if "words" not in engine.topics():
                assert model.next == 0
                continue
            unacknowledged(model, engine, writer_seed, len(lines) - 1)
            model.check(engine)
            if kill % 4 == 3:  # otherwise the next writer finds the processor behind
                words, followed = add_processors(engine)
                engine.start()
                assert engine.settle()
                model.check_counts(engine, words)
                assert followed.counts == Counter(value or "" for _, value in model.table)
    assert done > KILLS
    with open_engine(path) as engine:
        assert engine.topic("table").num_records < len(model.table)


def unacknowledged(model: Model, engine: Engine, seed: int, acknowledged: int) -> None:
    """Apply the one write that may have been committed although its acknowledgement was lost."""
    n = engine.catalogue.get("n", "next") or 0
    assert n in (model.next, model.next + 1), f"{n} writes are there, {model.next} were acknowledged"
    if n == model.next + 1:
        rng = random.Random(seed)
        for _ in range(acknowledged + 1):
            kind = rng.choice(KINDS)
            key = rng.randrange(20)
        model.apply(n, kind, key)
