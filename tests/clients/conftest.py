"""A server in a process of its own, and each client in an environment of its own.

The clients need versions of their libraries that exclude each other, so each gets a virtual environment
(or a node_modules folder) in the user's cache folder; it is made once. Without the package registry, or
without Node.js, the tests skip and say so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kalam-jupyter" / "test-clients"
TOKEN = "token-of-the-client-tests"


@dataclass(frozen=True)
class Server:
    """Where `kalam serve` listens."""

    ksql: str
    kalam: str

    @property
    def port(self) -> str:
        """Port of the ksqlDB listener."""
        return self.ksql.rpartition(":")[2]


def _serve(auth: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "kalam_server.cli", "serve", "--memory", "--kalam-port", "0"),
            *("--ksql-port", "0", "--ksql-auth", auth, "--token-env", "CLIENT_TOKEN"),
        ],
        env={**os.environ, "CLIENT_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        urls = {}
        while len(urls) < 2:
            line = process.stdout.readline()
            assert line, "the server ended before it listened"
            name, _, rest = line.partition(" API ")
            if rest:
                urls[name] = rest.strip()
        yield Server(urls["ksqlDB"], urls["KalamDB"])
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def open_server() -> Iterator[Server]:
    """A server that asks for no credentials: several clients cannot send any."""
    yield from _serve("none")


@pytest.fixture(scope="session")
def token_server() -> Iterator[Server]:
    """A server that asks for `TOKEN`."""
    yield from _serve("token")


def _run(command: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def _interpreter(name: str) -> str | None:
    """Return a Python that starts, from PATH or of pyenv (whose shims start only the chosen version)."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(name), *sorted(map(str, pyenv.glob(f"*/bin/{name}")))]
    return next((f for f in found if f is not None and not _run([f, "--version"]).returncode), None)


@pytest.fixture(scope="session")
def python_client() -> Callable[..., dict[str, Any]]:
    """Run a program in the virtual environment of one PyPI client."""

    def run(
        name: str, requirements: list[str], program: str, *arguments: str, interpreter: str = sys.executable
    ) -> dict[str, Any]:
        found = _interpreter(interpreter)
        if found is None:
            pytest.skip(f"{name} needs {interpreter}, which is not here")
        home = CACHE / name
        python = home / "bin" / "python"
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([found, "-m", "venv", str(home)], check=True)
            for step in (["setuptools<80", "wheel"], requirements):
                done = _run([str(python), "-m", "pip", "install", "--quiet", "--no-build-isolation", *step])
                if done.returncode:
                    pytest.skip(f"{name} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
            (home / "ready").touch()
        return _seen(_run([str(python), str(PROGRAMS / program), *arguments], timeout=60))

    return run


@pytest.fixture(scope="session")
def node_client() -> Callable[..., dict[str, Any]]:
    """Run a program with the npm clients."""
    node, npm = shutil.which("node"), shutil.which("npm")

    def run(program: str, *arguments: str) -> dict[str, Any]:
        if node is None or npm is None:
            pytest.skip("no Node.js on PATH")
        home = CACHE / "node"
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            (home / "package.json").write_text('{"private": true}')
            packages = ["ksqldb-client@1.0.5", "@cubejs-backend/ksql-driver@1.7.43"]
            flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = _run([npm, "install", *flags, *packages], cwd=home)
            if done.returncode:
                pytest.skip(f"the npm clients cannot be installed here: {done.stderr.strip()[-200:]}")
            (home / "ready").touch()
        environment = {**os.environ, "NODE_PATH": str(home / "node_modules")}
        return _seen(_run([node, str(PROGRAMS / program), *arguments], env=environment, timeout=60))

    return run


def _seen(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return seen
