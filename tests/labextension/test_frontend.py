"""The TypeScript of the JupyterLab extension: its own tests pass, and the built bundle is where Lab looks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "labextension"


@pytest.mark.skipif(not shutil.which("npx"), reason="no Node.js on PATH")
@pytest.mark.skipif(not (FRONTEND / "node_modules").is_dir(), reason="front end not built from source here")
def test_typescript_tests_pass() -> None:
    done = subprocess.run(
        [shutil.which("npx") or "npx", "vitest", "run"],
        cwd=FRONTEND,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not (FRONTEND / "node_modules").is_dir(), reason="front end not built from source here")
def test_installed_bundle_is_the_one_that_was_built() -> None:
    installed = Path(sys.prefix) / "share/jupyter/labextensions/kalam-jupyter/package.json"
    built = ROOT / "kalam_jupyter/labextension/package.json"
    assert json.loads(installed.read_text())["jupyterlab"] == json.loads(built.read_text())["jupyterlab"]
