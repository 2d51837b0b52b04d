"""The process dies in the middle: of an upload, a flush, a compaction, a transaction, a restore.

``kill -9`` leaves on disk what was written up to then. So the data directory is copied at every point where
something was, or is about to be, written; each copy is opened as the next start would, and must hold what
was acknowledged, nothing half done, and no file that nothing names.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.log import Log
from kalam_jupyter.kalam import Kalam, KalamError
from kalam_jupyter.kalam.files import Upload
from kalam_jupyter.kalam.segments import Segments

from .conftest import CONFIG, Client

TABLE = "CREATE USER TABLE app.t (id INT PRIMARY KEY, v TEXT, f FILE)"


@dataclass(frozen=True)
class Given:
    """An uploaded file."""

    name: str
    data: bytes
    mime: str | None = None


@dataclass
class Crashes:
    """Copies of a data directory, one for each point where the process could have died.

    Attributes
    ----------
    acknowledged : list
        What the client had been told at each point.
    """

    data: Path
    copies: Path
    told: list[Any] = field(default_factory=list)
    acknowledged: list[list[Any]] = field(default_factory=list)

    def point(self) -> None:
        shutil.copytree(self.data, self.copies / str(len(self.acknowledged)))
        self.acknowledged.append(list(self.told))

    def around(self, patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        """Make a point before and after every call of a method."""
        method = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            self.point()
            result = method(*args, **options)
            self.point()
            return result

        patch.setattr(owner, name, wrapped)

    def starts(self) -> Iterator[tuple[Client, Path, list[Any]]]:
        """Start on each copy: the client, the storage's directory, what had been acknowledged."""
        for i, told in enumerate(self.acknowledged):
            path = self.copies / str(i)
            with Engine.open(path) as engine:
                kalam = Kalam(engine, CONFIG)
                kalam.jobs.drain()
                yield Client(kalam, kalam.session("root")), path / "storage", told
                kalam.close()


@pytest.fixture
def crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Crashes]:
    def crash(before: str, act: Callable[[Client, Crashes], None]) -> Crashes:
        crashes = Crashes(tmp_path / "data", tmp_path / "copies")
        with Engine.open(crashes.data) as engine:
            kalam = Kalam(engine, CONFIG)
            root = Client(kalam, kalam.session("root"))
            root.run(f"CREATE NAMESPACE app; {TABLE}")
            for statement in before.split(";"):
                root.run(statement)
                kalam.jobs.drain()
            with monkeypatch.context() as patch:
                crashes.around(patch, Log, "commit")
                crashes.around(patch, Segments, "_write")
                crashes.around(patch, Upload, "copy_to")
                act(root, crashes)
                kalam.jobs.drain()
            kalam.close()
        assert len(crashes.acknowledged) >= 2
        return crashes

    return crash


def stored(storage: Path) -> set[str]:
    """Names of uploaded files and what is left of uploads."""
    return {p.name for p in storage.rglob("*") if p.is_file() and p.suffix not in (".parquet", ".json")}


def segments(root: Client) -> set[str]:
    """Paths of the segments that manifests name."""
    manifests = [orjson.loads(m) for (m,) in root.rows("SELECT manifest_json FROM system.manifest")]
    return {s["path"] for m in manifests for s in m["segments"]}


def test_an_upload(crash: Callable[..., Crashes]) -> None:
    def act(root: Client, crashes: Crashes) -> None:
        for i, end in ((2, ")"), (1, ")"), (3, ")")):  # the second fails: its key is taken
            sql = f"INSERT INTO app.t (id, f) VALUES ({i}, FILE('x'){end}"
            try:
                root.kalam.execute_upload(root.session, sql, files={"x": Given(f"{i}.txt", b"%d" % i)})
            except KalamError:
                continue
            crashes.told.append(i)

    crashes = crash("INSERT INTO app.t (id) VALUES (1)", act)
    seen = set()
    for root, storage, told in crashes.starts():
        rows = dict(root.rows("SELECT id, f FROM app.t"))
        seen.add(frozenset(rows))
        assert {1, *told} <= set(rows) <= {1, 2, 3}
        names = set()
        for i, text in rows.items():
            if text is not None:
                found = orjson.loads(text)
                name, content = root.kalam.read_file(root.session, "app", "t", found["sub"], found["id"])
                assert content == b"%d" % i
                names.add(name)
        assert stored(storage) == names, "no file without its row"
    assert seen == {frozenset(s) for s in ({1}, {1, 2}, {1, 2, 3})}


def test_a_flush(crash: Callable[..., Crashes]) -> None:
    before = (
        "INSERT INTO app.t (id) VALUES (1), (2); STORAGE FLUSH TABLE app.t; DELETE FROM app.t WHERE id = 1"
    )
    crashes = crash(before, lambda root, _: root.run("STORAGE FLUSH TABLE app.t"))
    for root, storage, _ in crashes.starts():
        assert root.rows("SELECT id FROM app.t") == [(2,)]
        assert all((storage / path).is_file() for path in segments(root))
        states = {s for (s,) in root.rows("SELECT status FROM system.jobs WHERE job_type = 'flush'")}
        assert states <= {"completed", "failed"}, "none runs for ever"
        root.run("STORAGE FLUSH TABLE app.t")
        root.kalam.jobs.drain()
        named = segments(root)
        assert {str(p.relative_to(storage)) for p in storage.rglob("*.parquet*")} == named
        newest = sorted(
            (row["_seq"], row["id"], row["_deleted"])
            for path in named
            for row in pq.read_table(storage / path).to_pylist()
        )
        assert [(i, gone) for _, i, gone in newest] == [(1, False), (2, False), (1, True)]


def test_a_compaction(crash: Callable[..., Crashes]) -> None:
    flush = "STORAGE FLUSH TABLE app.t"
    before = f"INSERT INTO app.t (id) VALUES (1), (2); {flush}; INSERT INTO app.t (id) VALUES (3); {flush}"
    before += f"; DELETE FROM app.t WHERE id = 1; {flush}"
    crashes = crash(before, lambda root, _: root.run("STORAGE COMPACT TABLE app.t"))
    for root, storage, _ in crashes.starts():
        assert root.rows("SELECT id FROM app.t") == [(2,), (3,)]
        assert all((storage / path).is_file() for path in segments(root))
        root.run("STORAGE COMPACT TABLE app.t")
        root.kalam.jobs.drain()
        (path,) = segments(root)
        assert pq.read_table(storage / path).column("id").to_pylist() == [2, 3]
        assert {str(p.relative_to(storage)) for p in storage.rglob("*.parquet*")} == {path}


def test_a_transaction(crash: Callable[..., Crashes]) -> None:
    def act(root: Client, crashes: Crashes) -> None:
        root.run(
            "BEGIN; INSERT INTO app.t (id) VALUES (2), (3); UPDATE app.t SET v = 'x' WHERE id = 1; COMMIT"
        )
        crashes.told.append("first")
        root.run("BEGIN; DELETE FROM app.t WHERE id = 2; INSERT INTO app.t (id) VALUES (4); ROLLBACK")
        root.run("BEGIN; DELETE FROM app.t WHERE id > 1; COMMIT")
        crashes.told.append("second")

    states = [[(1, None)], [(1, "x"), (2, None), (3, None)], [(1, "x")]]
    topic = "CREATE TOPIC app.ev; ALTER TOPIC app.ev ADD SOURCE app.t ON INSERT"
    crashes = crash(f"INSERT INTO app.t (id) VALUES (1); {topic}", act)
    seen = []
    for root, _, told in crashes.starts():
        rows = root.rows("SELECT id, v FROM app.t")
        assert rows in states[len(told) :]
        messages = root.rows("CONSUME FROM app.ev FROM EARLIEST")
        assert len(messages) == (0 if rows == states[0] else 2)
        seen.append(rows)
    assert all(state in seen for state in states)


def test_a_restore(crash: Callable[..., Crashes]) -> None:
    def act(root: Client, crashes: Crashes) -> None:
        root.run("RESTORE DATABASE FROM 'kept'")

    before = "INSERT INTO app.t (id) VALUES (1); BACKUP DATABASE TO 'kept'; INSERT INTO app.t (id) VALUES (2)"
    seen = set()
    for root, _, _ in crash(before, act).starts():
        seen.add(tuple(root.rows("SELECT id FROM app.t")))
        assert root.say("INSERT INTO app.t (id) VALUES (3)") == "Inserted 1 row(s)"
    assert seen == {((1,), (2,)), ((1,),)}
