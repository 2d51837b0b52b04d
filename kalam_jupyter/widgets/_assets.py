"""The files the browser gets, as anywidget wants them: one string of ESM, one of CSS."""

from __future__ import annotations

import re
from importlib.resources import files

# Every widget instance carries its code, so indentation and whole-line comments stay here.
_PADDING = re.compile(r"^[ \t]+|^[ \t]*//.*\n", re.MULTILINE)


def _read(name: str) -> str:
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")


def esm(*names: str) -> str:
    """Return the modules of these names, one behind the other; flechette.js is small already."""
    return "".join(_read(f"{n}.js") if n == "flechette" else _packed(f"{n}.js") for n in names)


def _packed(name: str) -> str:
    return _PADDING.sub("", _read(name))


def css(*names: str) -> str:
    """Return the style sheets of these names, one behind the other."""
    return "".join(_read(f"{name}.css") for name in names)
