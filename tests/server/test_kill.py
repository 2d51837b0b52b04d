"""``kill -9`` of the server, whatever it is doing: over one data directory, again and again.

What was acknowledged is there at the next start; what was under way is there as a whole or not at all.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import orjson
import pyarrow.parquet as pq
import pytest

from tests.server.running import ROOT_PASSWORD

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("KALAM_CRASH_SEED", random.SystemRandom().getrandbits(32)))


class Server:
    """A `kalam serve` of its own, and root's session with it."""

    def __init__(self, directory):
        self.storage = directory / "data" / "storage"
        settings = directory / "server.toml"
        settings.write_text("[auth]\nbcrypt_cost = 4\n")
        command = [sys.executable, "-m", "kalam_server.cli", "serve", "--development", f"--config={settings}"]
        self.process = subprocess.Popen(
            [*command, f"--data={directory / 'data'}", "--kalam-port=0", "--ksql-port=0"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "KALAMDB_ROOT_PASSWORD": ROOT_PASSWORD},
        )
        printed = ""
        while "Ctrl+C" not in printed:
            line = self.process.stdout.readline()
            assert line, "the server did not start"
            printed += line
        self.http = httpx.Client(base_url=re.search(r"KalamDB API\s+(\S+)", printed)[1], timeout=30)
        answer = self.http.post("/v1/api/auth/login", json={"user": "root", "password": ROOT_PASSWORD})
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def run(self, sql):
        """Run statements; return the last one's rows, if it has any."""
        answer = self.http.post("/v1/api/sql", json={"sql": sql}).json()
        assert answer["status"] == "success", answer
        return answer["results"][-1].get("rows")

    def finish_jobs(self):
        while self.run("SELECT job_id FROM system.jobs WHERE status IN ('new', 'queued', 'running')"):
            pass

    def kill_after(self, seconds):
        timer = threading.Timer(seconds, os.kill, (self.process.pid, signal.SIGKILL))
        timer.start()
        return timer

    def end(self):
        self.http.close()
        self.process.kill()
        self.process.wait(20)
        self.process.stdout.close()


class Model:
    """The rows of app.t: what is acknowledged, or what else may be there while something is under way."""

    def __init__(self):
        self.possible = [frozenset()]
        self.next = 0
        self.kept = frozenset()

    @property
    def now(self):
        return self.possible[0]

    def change(self, server, sql, after):
        """Run a statement that takes the rows from one state to another."""
        self.possible = [self.now, after]
        server.run(sql)
        self.possible = [after]

    def insert(self, server, count=50):
        new = range(self.next, self.next + count)
        self.next += count
        values = ", ".join(f"({i}, '{i}')" for i in new)
        self.change(server, f"INSERT INTO app.t (id, v) VALUES {values}", self.now | {*new})

    def delete_some(self, server):
        gone = {i for i in self.now if i % 7 == self.next % 7}
        self.change(server, f"DELETE FROM app.t WHERE id % 7 = {self.next % 7}", self.now - gone)

    def check(self, server):
        """Compare with what the server has, after it was started again."""
        found = frozenset(server.run("SELECT array_agg(id) FROM app.t")[0][0] or ())
        assert found in self.possible
        self.possible = [found]
        ((pairs, counted),) = server.run("SELECT (SELECT count(*) FROM app.p), (SELECT max(n) FROM app.c)")
        assert int(pairs) == counted
        assert not server.run("SELECT job_id FROM system.jobs WHERE status IN ('queued', 'running')")
        for (text,) in server.run("SELECT manifest_json FROM system.manifest"):
            for segment in orjson.loads(text)["segments"]:
                assert pq.read_metadata(server.storage / segment["path"]).num_rows == segment["rows"]
        server.run("INSERT INTO app.t (id) VALUES (-1); DELETE FROM app.t WHERE id = -1")


def flush(server, model):
    model.insert(server)
    server.run("STORAGE FLUSH TABLE app.t")


def compaction(server, model):
    model.delete_some(server)
    flush(server, model)
    server.run("STORAGE COMPACT TABLE app.t")


def transaction(server, model):
    """Two rows and their number, in one transaction."""
    n = model.next = model.next + 2
    server.run(
        f"BEGIN; INSERT INTO app.p VALUES ({n}); UPDATE app.c SET n = n + 2 WHERE id = 0; "
        f"INSERT INTO app.p VALUES ({n + 1}); COMMIT"
    )


def restore(server, model):
    transaction(server, model)
    model.insert(server)
    server.run("RESTORE DATABASE FROM 'kept'")
    model.possible = [model.now, model.kept]
    server.finish_jobs()
    model.possible = [model.kept]


class Kept:
    """The one data directory, the server that runs on it, and what must be there."""

    def __init__(self, directory):
        self.directory, self.model, self.random = directory, Model(), random.Random(SEED)
        self.server = Server(directory)

    def restart(self):
        self.server.end()
        self.server = Server(self.directory)
        return self.server


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    print(f"KALAM_CRASH_SEED={SEED}")  # shown when a test fails
    kept = Kept(tmp_path_factory.mktemp("killed"))
    server, model = kept.server, kept.model
    server.run(
        "CREATE NAMESPACE app; CREATE SHARED TABLE app.t (id INT PRIMARY KEY, v TEXT); "
        "CREATE SHARED TABLE app.p (id INT PRIMARY KEY); "
        "CREATE SHARED TABLE app.c (id INT PRIMARY KEY, n INT); INSERT INTO app.c VALUES (0, 0)"
    )
    model.insert(server)
    server.run("BACKUP DATABASE TO 'kept'")
    server.finish_jobs()
    model.kept = model.now
    yield kept
    kept.server.end()


@pytest.mark.crash
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("act", [flush, compaction, transaction, restore])
def test_a_killed_server_loses_nothing(kept, act):
    server, model = kept.server, kept.model
    timer = server.kill_after(0.1 + kept.random.random())
    try:
        while True:
            act(server, model)
    except httpx.TransportError:
        assert server.process.wait(20) == -signal.SIGKILL
    finally:
        timer.cancel()
    server = kept.restart()
    model.check(server)
    model.insert(server)
    for statement in ("STORAGE FLUSH TABLE app.t", "STORAGE COMPACT TABLE app.t"):
        server.run(statement)
        server.finish_jobs()
    (segment,) = (server.storage / "app" / "t").iterdir()
    rows = pq.read_table(segment).to_pylist()
    assert frozenset(row["id"] for row in rows if not row["_deleted"]) == model.now
