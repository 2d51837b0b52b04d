"""The files the browser gets, as anywidget wants them: one string of ESM, one of CSS."""

from __future__ import annotations

import re
from importlib.resources import files

# Every widget instance carries its code, so indentation and whole-line comments stay here.
_PADDING = re.compile(r"^[ \t]+|^[ \t]*//.*\n", re.MULTILINE)


def _read(name: str) -> str:
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")


def esm(view: str) -> str:
    """Return the module `view`.js with the Arrow decoder and what all views share in front of it."""
    return _read("flechette.js") + _PADDING.sub("", _read("live.js") + _read(f"{view}.js"))


def css(view: str) -> str:
    """Return the style sheet `view`.css, with what all views share in front of it."""
    return _read("live.css") + _read(f"{view}.css")
