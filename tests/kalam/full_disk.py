"""A process whose files cannot grow: `test_full_disk` runs it. It prints what became of each attempt."""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from kalam_jupyter.kalam import Kalam, KalamError
from tests.engine.support import open_engine
from tests.kalam.conftest import CONFIG, Client

LIMIT = 300_000


@dataclass
class Given:
    """An upload larger than the limit."""

    data: bytes
    name: str = "a.bin"
    mime: str | None = None


def attempts(root: Client) -> dict[str, list[str]]:
    """Try everything that writes files of its own; return the status and message of each."""
    for statement in ("STORAGE FLUSH TABLE app.u", "EXPORT USER DATA", "BACKUP DATABASE TO 'b'"):
        root.run(statement)
    root.kalam.jobs.drain()
    jobs = root.rows("SELECT job_type, status, message FROM system.jobs ORDER BY created_at")
    found = {kind: [status, message] for kind, status, message in jobs}
    try:
        sql = "INSERT INTO app.u (id, f) VALUES (-1, FILE('x'))"
        root.kalam.execute_upload(root.session, sql, files={"x": Given(os.urandom(2 * LIMIT))})
        return {**found, "upload": ["completed", ""]}
    except KalamError as error:
        return {**found, "upload": ["failed", error.message]}


def main(path: Path) -> None:
    """Fill a table, then try with files that cannot grow, then with such that can."""
    with open_engine(path) as engine:
        kalam = Kalam(engine, CONFIG)
        root = Client(kalam, kalam.session("root"))
        root.run("CREATE NAMESPACE app")
        root.run("CREATE USER TABLE app.u (id INT PRIMARY KEY, v TEXT, f FILE)")
        rows = ", ".join(f"({i}, '{os.urandom(500).hex()}')" for i in range(900))
        root.run(f"INSERT INTO app.u (id, v) VALUES {rows}")
        kalam.close()
    with open_engine(path) as engine:  # from a checkpoint: its log is small
        kalam = Kalam(engine, CONFIG)
        root = Client(kalam, kalam.session("root"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
        print(json.dumps(attempts(root)))
        print(json.dumps([p.name for p in (path / "storage").rglob("*") if p.is_file()]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print(json.dumps(attempts(root)))
        kalam.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
