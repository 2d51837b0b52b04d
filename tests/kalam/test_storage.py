"""Storages, flush, compaction, backup, export and files."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam, KalamError
from tests.kalam.conftest import CONFIG, Client


@dataclass(frozen=True)
class Given:
    """An uploaded file."""

    name: str
    data: bytes
    mime: str | None = None


def finish_jobs(client: Client) -> list[tuple[str, str, str]]:
    """Wait for every job that is queued and return (type, status, message) of all."""
    client.kalam.jobs.drain()
    return client.rows("SELECT job_type, status, message FROM system.jobs ORDER BY substr(job_id, 4)")


@pytest.fixture
def store(root: Client, tmp_path: Path) -> Path:
    path = tmp_path / "store"
    assert root.say(f"CREATE STORAGE disk TYPE filesystem NAME 'Disk' PATH '{path}'") == (
        "Storage 'disk' created successfully"
    )
    root.run("CREATE SHARED TABLE app.s (id INT PRIMARY KEY, v TEXT) WITH (STORAGE_ID = 'disk')")
    root.run("CREATE USER TABLE app.u (id INT PRIMARY KEY, doc FILE) WITH (STORAGE_ID = 'disk')")
    return path


def test_flush_writes_parquet_segments_and_compaction_merges_them(root: Client, store: Path) -> None:
    assert (
        root.say("STORAGE FLUSH TABLE app.s") == "Storage flush skipped: no pending writes for table 'app.s'"
    )
    root.run("INSERT INTO app.s VALUES (2, 'b'), (1, 'a')")
    said = root.say("STORAGE FLUSH TABLE app.s")
    assert said is not None and said.startswith("Storage flush started for table 'app.s'. Job ID: FL-")
    assert finish_jobs(root) == [("flush", "completed", "Flush completed: 2 row(s) in 1 segment(s)")]
    assert pq.read_table(store / "app/s/batch-0.parquet").column("id").to_pylist() == [1, 2]
    root.run(
        "UPDATE app.s SET v = 'B' WHERE id = 2; DELETE FROM app.s WHERE id = 1; INSERT INTO app.s VALUES "
        "(3, 'c')"
    )
    root.run("STORAGE FLUSH ALL IN app")
    finish_jobs(root)
    root.run("STORAGE COMPACT TABLE app.s")
    assert "Compaction completed: 2 segment(s) into 1" in finish_jobs(root)[-1][2]
    (segment,) = (store / "app/s").iterdir()
    merged = pq.read_table(segment).sort_by("id")
    assert merged.select(["id", "v"]).to_pylist() == [{"id": 2, "v": "B"}, {"id": 3, "v": "c"}]
    assert root.rows("SELECT id, v FROM app.s") == [(2, "B"), (3, "c")]
    assert root.rows("SHOW STATS FOR TABLE app.s")[0][:5] == ("s", "app", 1, 2, 1)


def test_compaction_takes_deleted_rows_off_the_disk(root: Client, store: Path) -> None:
    root.run("INSERT INTO app.s VALUES (1, 'secret'), (2, 'b'); DELETE FROM app.s WHERE id = 1")
    directory = store / "app/s"
    for left in ([2], []):
        root.run("STORAGE FLUSH TABLE app.s")
        finish_jobs(root)
        for _ in range(2):  # the second has nothing to do
            root.run("STORAGE COMPACT TABLE app.s")
            finish_jobs(root)
            segments = list(directory.iterdir())
            assert [i for path in segments for i in pq.read_table(path).column("id").to_pylist()] == left
            assert not any(b"secret" in path.read_bytes() for path in segments)
        root.run("DELETE FROM app.s WHERE id = 2")


def test_compacted_segments_have_the_columns_of_today(root: Client, store: Path) -> None:
    root.run("INSERT INTO app.s VALUES (1, 'a'), (2, 'b')")
    root.run("STORAGE FLUSH TABLE app.s")
    finish_jobs(root)
    root.run("ALTER TABLE app.s RENAME COLUMN v TO w; ALTER TABLE app.s ADD COLUMN n INT DEFAULT 7")
    root.run("STORAGE COMPACT TABLE app.s")
    assert "Compaction completed: 1 segment(s) into 1" in finish_jobs(root)[-1][2]
    (segment,) = (store / "app/s").iterdir()
    assert pq.read_table(segment).select(["id", "w", "n"]).to_pylist() == [
        {"id": 1, "w": "a", "n": 7},
        {"id": 2, "w": "b", "n": 7},
    ]


def test_compaction_takes_old_tombstones_out(root: Client, store: Path, clock: Clock) -> None:
    root.run("CREATE SHARED TABLE app.k (id INT PRIMARY KEY) WITH (DELETED_RETENTION_HOURS = 2)")
    root.run("INSERT INTO app.k VALUES (1), (2); DELETE FROM app.k WHERE id = 1")
    clock.advance(3 * 3_600_000)
    root.run("DELETE FROM app.k WHERE id = 2; STORAGE COMPACT TABLE app.k")
    assert finish_jobs(root)[-1][2].endswith("1 tombstone(s) removed")
    assert root.rows("SELECT id FROM app.k WHERE _deleted = true") == [(2,)]


def test_flush_policy_flushes_by_rows(root: Client, store: Path) -> None:
    root.run("CREATE SHARED TABLE app.p (id INT PRIMARY KEY) WITH (STORAGE_ID='disk', FLUSH_POLICY='rows:3')")
    root.run("INSERT INTO app.p VALUES (1), (2)")
    assert not (store / "app/p").exists()
    root.run("INSERT INTO app.p VALUES (3)")
    root.kalam.engine.transact(lambda tx: None)  # the flush is queued behind the write
    finish_jobs(root)
    assert pq.read_table(store / "app/p/batch-0.parquet").num_rows == 3


@pytest.mark.parametrize(
    ("codec", "written"), [("none", "UNCOMPRESSED"), ("Snappy", "SNAPPY"), ("zstd", "ZSTD")]
)
def test_segments_are_compressed_as_the_table_says(
    root: Client, store: Path, codec: str, written: str
) -> None:
    root.run(
        f"CREATE SHARED TABLE app.z (id INT PRIMARY KEY) WITH (STORAGE_ID='disk', COMPRESSION='{codec}')"
    )
    root.run("INSERT INTO app.z VALUES (1); STORAGE FLUSH TABLE app.z")
    finish_jobs(root)
    group = pq.read_metadata(store / "app/z/batch-0.parquet").row_group(0)
    assert group.column(0).compression == written


def test_owners_have_directories_of_their_own_that_no_name_leaves(root: Client, store: Path) -> None:
    for name in ("../../evil", "..", "a/b"):
        root.run(f"EXECUTE AS USER '{name}' (INSERT INTO app.u (id) VALUES (1))")
    root.run("STORAGE FLUSH TABLE app.u")
    assert finish_jobs(root)[-1][1] == "completed"
    found = sorted(p.relative_to(store).as_posix() for p in store.rglob("*.parquet"))
    assert found == [
        "app/u/%2E%2E/batch-0.parquet",
        "app/u/..%2F..%2Fevil/batch-0.parquet",
        "app/u/a%2Fb/batch-0.parquet",
    ]


def test_storage_statements(root: Client, store: Path, tmp_path: Path) -> None:
    assert "Cannot drop storage 'disk': 2 table(s) still using it" in root.error("DROP STORAGE disk").message
    assert root.say("ALTER STORAGE disk SET NAME 'Other'") == "Storage 'disk' altered successfully"
    row = root.rows("STORAGE CHECK disk EXTENDED")[0]
    assert row[:6] == ("disk", "healthy", True, True, True, True)
    assert row[7] > 0
    assert (
        "must contain {userId}"
        in root.error(
            f"CREATE STORAGE bad TYPE filesystem PATH '{tmp_path}' USER_TABLES_TEMPLATE "
            f"'{{namespace}}/{{tableName}}'"
        ).message
    )
    assert root.say("DROP STORAGE IF EXISTS none") == "Storage 'none' does not exist (skipped)"
    assert "Storage 'none' not found" in root.error("DROP STORAGE none").message
    (tmp_path / "file").write_text("x")
    assert (
        "connectivity check failed"
        in root.error(f"CREATE STORAGE f TYPE filesystem PATH '{tmp_path / 'file'}'").message
    )
    assert (
        "requires Service, DBA, or System role"
        in client_of(root, "u1").error("STORAGE FLUSH TABLE app.s").message
    )


def client_of(root: Client, name: str) -> Client:
    root.run(f"CREATE USER {name} WITH PASSWORD 'x' ROLE user")
    return Client(root.kalam, root.kalam.session(name))


def test_dropped_table_leaves_no_segment(root: Client, store: Path) -> None:
    root.run("INSERT INTO app.s VALUES (1, 'a')")
    root.run("STORAGE FLUSH TABLE app.s")
    finish_jobs(root)
    said = root.say("DROP TABLE app.s")
    assert said is not None and "Cleanup job: CL-" in said
    assert finish_jobs(root)[-1][1] == "completed"
    assert not (store / "app/s").exists()


def test_backup_and_restore(root: Client, tmp_path: Path) -> None:
    root.run("CREATE SHARED TABLE app.b (id INT PRIMARY KEY, at TIMESTAMP, e EMBEDDING(2), d DECIMAL(5,2))")
    root.run("INSERT INTO app.b VALUES (1, '2026-01-01', '[1, 2]', 1.25)")
    root.run(f"BACKUP DATABASE TO '{tmp_path / 'bk'}'")
    assert finish_jobs(root)[-1][:2] == ("backup", "completed")
    before = root.rows("SELECT * FROM app.b")
    root.run("DELETE FROM app.b WHERE id = 1; INSERT INTO app.b (id) VALUES (2); CREATE NAMESPACE later")
    said = root.say(f"RESTORE DATABASE FROM '{tmp_path / 'bk'}'")
    assert said is not None and said.endswith("Server restart required after completion.")
    root.kalam.jobs.drain()
    assert root.rows("SELECT * FROM app.b") == before
    assert "later" not in str(root.rows("SHOW NAMESPACES"))
    assert "not found" in root.error("RESTORE DATABASE FROM '/nowhere'").message


def test_a_backup_holds_messages_offsets_and_files(
    root: Client, store: Path, user: Callable[..., Client], tmp_path: Path
) -> None:
    ann = user("ann")
    root.run("CREATE USER TABLE app.docs (id INT PRIMARY KEY, f FILE) WITH (STORAGE_ID = 'disk')")
    root.run("CREATE TOPIC app.ev PARTITIONS 3; ALTER TOPIC app.ev ADD SOURCE app.docs ON INSERT")
    root.run("INSERT INTO app.docs (id) VALUES (1), (2), (3), (4); CLEAR TOPIC app.ev")
    for who in (root, ann):
        root.kalam.execute_upload(
            who.session, "INSERT INTO app.docs VALUES (9, FILE('x'))", files={"x": Given("a.txt", b"first")}
        )
    root.run("INSERT INTO app.docs (id) VALUES (5), (6), (7)")
    topics = root.kalam.topics

    def consume(group: str, start: str = "earliest") -> list[Any]:
        found = [topics.consume("app.ev", group, start=start, partition=p) for p in range(3)]
        return [m for c in found for m in c.messages]

    messages = consume("reader")
    assert len(messages) == 5 and any(m.offset > 0 for m in messages)
    topics.acknowledge("app.ev", "done", messages[0].partition, messages[0].offset)
    rows = ann.rows("SELECT * FROM app.docs")
    root.run(f"STORAGE FLUSH TABLE app.docs; BACKUP DATABASE TO '{tmp_path / 'bk'}'")
    assert finish_jobs(root)[-1][:2] == ("backup", "completed")

    first = next(store.rglob("*-a.txt"))
    first.unlink()
    root.kalam.execute_upload(
        ann.session, "INSERT INTO app.docs VALUES (8, FILE('x'))", files={"x": Given("later.txt", b"later")}
    )
    root.run("DROP TOPIC app.ev; CREATE TOPIC app.other; DELETE FROM app.docs WHERE id = 5")
    root.run(f"RESTORE DATABASE FROM '{tmp_path / 'bk'}'")
    assert finish_jobs(root)[-1][:2] == ("restore", "completed")

    assert ann.rows("SELECT * FROM app.docs") == rows
    assert consume("again") == messages, "with their offsets, keys, times and headers"
    assert messages[0] not in consume("done")
    assert "does not exist" in root.error("CONSUME FROM app.other").message
    for who in (root, ann):
        ref = orjson.loads(who.rows("SELECT f FROM app.docs WHERE id = 9")[0][0])
        given = root.kalam.read_file(who.session, "app", "docs", ref["sub"], ref["id"])
        assert given == (f"{ref['id']}-a.txt", b"first")
    assert list(store.rglob("*later*")) == list(store.rglob("batch-*")) == []
    root.run("INSERT INTO app.docs (id) VALUES (10); STORAGE FLUSH TABLE app.docs")
    assert finish_jobs(root)[-1][:2] == ("flush", "completed")
    assert sum(pq.read_metadata(p).num_rows for p in store.rglob("batch-*")) == 10
    assert next(m.key for m in reversed(consume("again"))) == "10"


def test_a_backup_takes_no_place_but_that_of_a_backup(root: Client, tmp_path: Path) -> None:
    """`BACKUP DATABASE TO` a directory with other things in it must not remove them."""
    for taken in (tmp_path / "mine", tmp_path / "file"):
        if taken.name == "mine":
            taken.mkdir()
            (taken / "thesis.txt").write_text("years of work")
        else:
            taken.write_text("x")
        assert "exists and is no backup" in root.error(f"BACKUP DATABASE TO '{taken}'").message
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    for _ in range(2):  # an empty directory, then the backup that is there
        root.run(f"BACKUP DATABASE TO '{tmp_path / 'empty'}'")
        assert finish_jobs(root)[-1][:2] == ("backup", "completed")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "mine"]


def test_a_backup_holds_the_files_its_rows_name_and_no_others(
    root: Client, store: Path, tmp_path: Path
) -> None:
    """A file whose statement runs while the backup is written has no row in it."""
    named = upload(root, "INSERT INTO app.u (id, doc) VALUES (1, FILE('f'))", f=Given("a.txt", b"1"))
    folder = store / "app" / "u" / "root" / named["sub"]
    (folder / f"{int(named['id']) + 1}-late.txt").write_bytes(b"no row yet")
    root.run("""INSERT INTO app.u (id, doc) VALUES (2, 'no reference'), (3, '{"id": 5}'), (4, '[]')""")
    root.run(f"BACKUP DATABASE TO '{tmp_path / 'kept'}'")
    assert finish_jobs(root)[-1] == (
        "backup",
        "completed",
        "Backup completed: 4 row set(s), 0 topic(s), 1 file(s)",
    )
    found = [p.name for p in (tmp_path / "kept" / "files").rglob("*") if p.is_file()]
    assert found == [f"{named['id']}-a.txt"]


class TestLinks:
    """Nothing is read, written or removed through symbolic links that lead out of a storage's directory."""

    SECRET = ("app", "u", "root", "f0001", "7-secret.txt")

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        """A directory with a file where the storage could have one, and one that looks like a segment."""
        secret = (tmp_path / "outside").joinpath(*self.SECRET)
        secret.parent.mkdir(parents=True)
        secret.write_text("secret")
        (secret.parent.parent / "batch-0.parquet").write_text("not ours")
        return tmp_path / "outside"

    @pytest.mark.parametrize("depth", range(1, 6))
    def test_no_file_is_read(self, root: Client, store: Path, outside: Path, depth: int) -> None:
        link = store.joinpath(*self.SECRET[:depth])
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(outside.joinpath(*self.SECRET[:depth]))
        for file_id in ("7", "7-secret.txt"):
            with pytest.raises(KalamError) as refused:
                root.kalam.read_file(root.session, "app", "u", "f0001", file_id)
            assert (refused.value.code, refused.value.message) == ("INVALID_INPUT", "Invalid file path")

    def contents(self, outside: Path) -> dict[str, str]:
        return {str(p.relative_to(outside)): p.read_text() for p in outside.rglob("*") if p.is_file()}

    def test_links_inside_are_followed(self, root: Client, store: Path) -> None:
        (store / "elsewhere" / "f0001").mkdir(parents=True)
        (store / "elsewhere" / "f0001" / "7-x.txt").write_text("ours")
        (store / "app" / "u").mkdir(parents=True)
        (store / "app" / "u" / "root").symlink_to(store / "elsewhere")
        assert root.kalam.read_file(root.session, "app", "u", "f0001", "7") == ("7-x.txt", b"ours")

    def test_nothing_is_written_or_removed(self, root: Client, store: Path, outside: Path) -> None:
        before = self.contents(outside)
        for link in (store / "app" / "u" / "root", store / "app" / "s"):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(outside / "app" / "u" / "root")
        with pytest.raises(KalamError) as refused:
            upload(root, "INSERT INTO app.u (id, doc) VALUES (1, FILE('f'))", f=Given("a.txt", b"1"))
        assert refused.value.code == "INTERNAL_ERROR"
        root.run("INSERT INTO app.u (id) VALUES (1); INSERT INTO app.s (id) VALUES (1)")
        for statement in ("STORAGE FLUSH ALL IN app", "EXPORT USER DATA", "STORAGE COMPACT ALL IN app"):
            root.run(statement)
        jobs = finish_jobs(root)
        assert [(kind, status) for kind, status, _ in jobs if kind == "flush"] == [("flush", "failed")] * 2
        exported = next((root.kalam.storages.base / "exports").rglob("*.zip"))
        assert zipfile.ZipFile(exported).namelist() == ["app/u.jsonl"]
        root.run("DROP TABLE app.u; DROP TABLE app.s")
        finish_jobs(root)
        assert self.contents(outside) == before


def test_a_new_table_keeps_files_of_its_own_while_the_old_one_is_cleaned(root: Client, store: Path) -> None:
    table = "CREATE USER TABLE app.docs (id INT PRIMARY KEY, f FILE) WITH (STORAGE_ID = 'disk')"

    def upload(name: str) -> None:
        sql = "INSERT INTO app.docs VALUES (1, FILE('x'))"
        root.kalam.execute_upload(root.session, sql, files={"x": Given(name, b"1")})

    held = threading.Event()
    root.run(table)
    upload("old.txt")
    root.kalam.jobs._pool.submit(held.wait)  # the cleaning waits behind this
    root.run(f"DROP TABLE app.docs; {table}")
    upload("new.txt")
    held.set()
    root.kalam.jobs.drain()
    assert [p.name.partition("-")[2] for p in store.rglob("*.txt")] == ["new.txt"]


@pytest.mark.parametrize(
    ("meanwhile", "flushed"),
    [
        (
            "ALTER TABLE app.s ADD COLUMN n INT DEFAULT 1",
            ("completed", "Flush completed: 1 row(s) in 1 segment(s)"),
        ),
        ("ALTER TABLE app.s DROP COLUMN v", ("completed", "Flush completed: 1 row(s) in 1 segment(s)")),
        ("DROP TABLE app.s", ("skipped", "Table app.s was dropped")),
        (
            "DROP TABLE app.s; CREATE SHARED TABLE app.s (id INT PRIMARY KEY) WITH (STORAGE_ID = 'disk'); "
            "INSERT INTO app.s VALUES (2)",
            ("skipped", "Table app.s was dropped"),
        ),
    ],
)
def test_a_flush_meets_the_table_as_it_is_by_then(
    root: Client, store: Path, meanwhile: str, flushed: tuple[str, str]
) -> None:
    root.run("INSERT INTO app.s VALUES (1, 'a')")
    held = threading.Event()
    root.kalam.jobs._pool.submit(held.wait)  # the flush waits behind this
    root.run("STORAGE FLUSH TABLE app.s")
    root.run(meanwhile)
    held.set()
    assert [(status, said) for kind, status, said in finish_jobs(root) if kind == "flush"] == [flushed]
    manifests = [orjson.loads(text) for (text,) in root.rows("SELECT manifest_json FROM system.manifest")]
    segments = [store / segment["path"] for manifest in manifests for segment in manifest["segments"]]
    assert list(store.rglob("*.parquet")) == segments
    assert [pq.read_metadata(segment).num_rows for segment in segments] == [1] * len(segments)


def test_export_holds_own_rows_only(root: Client, store: Path, user: Callable[..., Client]) -> None:
    alice, bob = user("alice"), user("bob")
    alice.run("INSERT INTO app.u (id) VALUES (1)")
    bob.run("INSERT INTO app.u (id) VALUES (2)")
    said = alice.say("EXPORT USER DATA")
    assert said is not None and "Job ID: UE-" in said
    finish_jobs(root)
    ((_, status, _, _, url),) = alice.rows("SHOW EXPORT")
    assert status == "completed"
    export = url.rsplit("/", 1)[1]
    archive = zipfile.ZipFile(io.BytesIO(root.kalam.read_export(alice.session, "alice", export)))
    assert archive.namelist() == ["app/u.jsonl"]
    assert orjson.loads(archive.read("app/u.jsonl"))["id"] == 1
    for reader, owner, code in [(bob, "alice", "PERMISSION_DENIED"), (bob, "bob", "EXPORT_NOT_FOUND")]:
        with pytest.raises(KalamError) as caught:
            root.kalam.read_export(reader.session, owner, export)
        assert caught.value.code == code
    assert bob.rows("SHOW EXPORT") == []


# ---- files -------------------------------------------------------------------------------------------------


def upload(client: Client, sql: str, **files: Given) -> dict[str, str]:
    client.kalam.execute_upload(client.session, sql, files=files)
    return orjson.loads(client.rows("SELECT doc FROM app.u ORDER BY id DESC LIMIT 1")[0][0])


def test_uploaded_file_comes_back(root: Client, store: Path) -> None:
    data = os.urandom(3000)
    reference = upload(
        root,
        """INSERT INTO app.u (id, doc) VALUES (1, FILE("c"))""",
        c=Given("Contract v2.PDF", data, "application/pdf"),
    )
    assert list(reference) == ["id", "sub", "name", "size", "mime", "sha256"]
    assert reference["sub"] == "f0001"
    assert reference["sha256"] == hashlib.sha256(data).hexdigest()
    stored = f"{reference['id']}-contract-v2.pdf"
    assert (store / "app/u/root/f0001" / stored).read_bytes() == data
    for name in (stored, reference["id"]):
        assert root.kalam.read_file(root.session, "app", "u", "f0001", name) == (stored, data)


def test_failed_statement_leaves_no_file(root: Client, store: Path) -> None:
    with pytest.raises(KalamError):
        root.kalam.execute_upload(
            root.session,
            "INSERT INTO app.u (id, doc) VALUES (NULL, FILE('c'))",
            files={"c": Given("c.txt", b"x")},
        )
    assert [p for p in store.rglob("*") if p.is_file()] == []


def test_crash_between_storing_and_inserting_leaves_no_file(tmp_path: Path) -> None:
    with Engine.open(tmp_path / "data") as engine:
        kalam = Kalam(engine, CONFIG)
        root = Client(kalam, kalam.session("root"))
        root.run("CREATE NAMESPACE app; CREATE USER TABLE app.u (id INT PRIMARY KEY, doc FILE)")
        table = kalam.table("app", "u")
        with_upload = kalam.files.receive("a.txt")
        with_upload.write(b"hello")
        ((_, path),) = kalam.files._store(table, "root", {"f": with_upload}).values()
        assert (kalam.storages.base / path).exists()
        with_upload.close()
    with Engine.open(tmp_path / "data") as engine:
        kalam = Kalam(engine, CONFIG)
        assert not (kalam.storages.base / path).exists()


@pytest.mark.parametrize("closed", [True, False])
def test_what_a_dropped_table_leaves_is_removed_after_a_restart_too(tmp_path: Path, closed: bool) -> None:
    with Engine.open(tmp_path / "data") as engine:
        kalam = Kalam(engine, CONFIG)
        root = Client(kalam, kalam.session("root"))
        root.run("CREATE NAMESPACE app; CREATE SHARED TABLE app.s (id INT PRIMARY KEY)")
        root.run("INSERT INTO app.s VALUES (1); STORAGE FLUSH TABLE app.s")
        kalam.jobs.drain()
        directory = kalam.storages.base / "app" / "s"
        assert directory.is_dir()
        kalam.jobs._pool.submit(kalam.jobs._closing.wait)  # the cleaning waits behind this
        root.run("DROP TABLE app.s")
        if closed:
            kalam.close()
    with Engine.open(tmp_path / "data") as engine:
        again = Kalam(engine, CONFIG)
        root = Client(again, again.session("root"))
        assert finish_jobs(root)[-1] == ("cleanup", "completed", "Cleanup completed")
        assert not directory.exists()
        again.close()
    kalam.close()


@pytest.mark.parametrize(
    ("folder", "name", "code"),
    [
        ("f0001", "../../../etc/passwd", "INVALID_INPUT"),
        ("f0001", "a\\b", "INVALID_INPUT"),
        ("..", "x", "INVALID_INPUT"),
        ("f0001", "nothing.txt", "FILE_NOT_FOUND"),
        ("f0001", "123", "FILE_NOT_FOUND"),
    ],
)
def test_file_paths_are_checked(root: Client, store: Path, folder: str, name: str, code: str) -> None:
    with pytest.raises(KalamError) as caught:
        root.kalam.read_file(root.session, "app", "u", folder, name)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("table", "user_id", "folder", "status", "text"),
    [
        ("app.nope", None, "f0001", 404, "Table 'app:nope' not found"),
        ("system.users", None, "f0001", 400, "File storage is not supported for stream or system tables"),
        ("app.e", None, "f0001", 400, "File storage is not supported for stream or system tables"),
        ("app.s", "alice", "..", 403, "Shared table access denied (access_level=Private)"),
        ("app.u", "root", "..", 403, "Requested user is not allowed for the current role"),
        ("app.u", None, "..", 400, "Invalid file path"),
        ("app.u", None, "f0001", 404, "File not found"),
    ],
)
def test_a_download_is_checked_by_table_permission_and_path_in_this_order(
    root: Client,
    store: Path,
    user: Callable[..., Client],
    table: str,
    user_id: str | None,
    folder: str,
    status: int,
    text: str,
) -> None:
    root.run("CREATE STREAM TABLE app.e (id INT) WITH (TTL_SECONDS = 5)")
    with pytest.raises(KalamError) as caught:
        root.kalam.read_file(user("alice").session, *table.split("."), folder, "1.txt", user_id=user_id)
    assert (caught.value.status, caught.value.message) == (status, text)


def test_files_of_another_user_need_the_role_for_it(
    root: Client, store: Path, user: Callable[..., Client]
) -> None:
    alice, bob, service = user("alice"), user("bob"), user("svc", "service")
    reference = upload(alice, "INSERT INTO app.u (id, doc) VALUES (1, FILE('f'))", f=Given("a.txt", b"mine"))
    for reader, allowed in ((bob, False), (service, True)):
        if allowed:
            _, data = root.kalam.read_file(
                reader.session, "app", "u", reference["sub"], reference["id"], user_id="alice"
            )
            assert data == b"mine"
        else:
            with pytest.raises(KalamError) as caught:
                root.kalam.read_file(
                    reader.session, "app", "u", reference["sub"], reference["id"], user_id="alice"
                )
            assert caught.value.status == 403
            with pytest.raises(KalamError):
                root.kalam.read_file(reader.session, "app", "u", reference["sub"], reference["id"])


@pytest.mark.parametrize(
    ("sql", "files", "code"),
    [
        (
            "INSERT INTO app.u (id, doc) VALUES (1, FILE('c'))",
            {"c": Given("c", b"x" * 2000)},
            "FILE_TOO_LARGE",
        ),
        ("INSERT INTO app.none (id, doc) VALUES (1, FILE('c'))", {"c": Given("c", b"x")}, "TABLE_NOT_FOUND"),
        ("INSERT INTO app.u (id) VALUES (1); SELECT FILE('c')", {"c": Given("c", b"x")}, "INVALID_INPUT"),
        ("SELECT 1", {f"f{i}": Given("c", b"x") for i in range(21)}, "TOO_MANY_FILES"),
        (
            "INSERT INTO app.u (id, doc) VALUES (1, FILE('other'))",
            {"c": Given("c", b"x")},
            "SQL_EXECUTION_ERROR",
        ),
    ],
)
def test_refused_uploads(tmp_path: Path, sql: str, files: dict[str, Given], code: str) -> None:
    with Engine.open() as engine:
        kalam = Kalam(engine, CONFIG.with_(max_file_size=1000, data_dir=str(tmp_path)))
        root = Client(kalam, kalam.session("root"))
        root.run("CREATE NAMESPACE app; CREATE USER TABLE app.u (id INT PRIMARY KEY, doc FILE)")
        with pytest.raises(KalamError) as caught:
            kalam.execute_upload(root.session, sql, files=files)
        assert caught.value.code == code
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
        kalam.close()
