"""Reads case files: JSON with comments, every number exact, one expanded case per format and setting."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
WindowKind = Literal["time", "session"]
REST_MEMBERS = (
    "responses",
    "expectedError",
    "inputConditions",
    "outputConditions",
    "testPullWithProtoFormat",
)


@dataclass(frozen=True)
class RecordSpec:
    """A record as a case writes it.

    Attributes
    ----------
    key, value
        Parsed JSON; integers are int, all other numbers Decimal with the digits that were written.
    timestamp : int or None
        None where an output's is not checked.
    window : (start, end, kind) or None
    headers : tuple of (str, str or None)
        Values in base64.
    """

    topic: str
    key: Any
    value: Any
    timestamp: int | None
    window: tuple[int, int, WindowKind] | None
    headers: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Case:
    """One expanded case.

    Attributes
    ----------
    name : str
        ``file - case - FORMAT - property=value``, unique over all files.
    expected_error : mapping or None
        ``type``, ``message``, ``cause``, ``causeMessage``, each optional.
    rest : mapping or None
        What only REST cases have; None for all others.
    """

    name: str
    file: str
    statements: tuple[str, ...]
    inputs: tuple[RecordSpec, ...]
    outputs: tuple[RecordSpec, ...]
    topics: tuple[Mapping[str, Any], ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    expected_error: Mapping[str, Any] | None = None
    post: Mapping[str, Any] = field(default_factory=dict)
    rest: Mapping[str, Any] | None = None


def strip_comments(text: str) -> str:
    """Blank out comments; those inside strings stay, and lines keep their numbers."""

    def replace(match: re.Match[str]) -> str:
        found = match[0]
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

    return _STRING_OR_COMMENT.sub(replace, text)


def parse(text: str) -> Any:
    """Parse JSON with comments, floats as exact decimals."""
    return json.loads(strip_comments(text), parse_float=Decimal)


def exact_json(value: Any) -> str:
    """Write parsed JSON with every number as it was."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(k)}:{exact_json(v)}' for k, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(exact_json, value))}]"
    return json.dumps(value, ensure_ascii=False)


def find_files(paths: list[Path]) -> list[Path]:
    """Return the case files among `paths`, which may be folders."""
    return [f for p in paths for f in (sorted(p.glob("*.json")) if p.is_dir() else [p])]


def load(path: Path) -> list[Case]:
    """Return the enabled cases of a file, expanded.

    A file is one of REST cases when any of its cases has what only those have.
    """
    tests = parse(path.read_text(encoding="utf-8"))["tests"]
    is_rest = any(member in test for test in tests for member in REST_MEMBERS)
    enabled = [test for test in tests if test.get("enabled", True)]
    return [case for test in enabled for case in expand(test, path.stem, is_rest=is_rest)]


def expand(test: Mapping[str, Any], file: str, *, is_rest: bool = False) -> Iterator[Case]:
    """Yield one case for each format and each configuration value."""
    for format_ in test.get("format") or [None]:
        for config in test.get("config") or [None]:
            name = f"{file} - {test['name']}"
            statements = test["statements"]
            properties = dict(test.get("properties") or {})
            if format_ is not None:
                name += f" - {format_}"
                statements = [s.replace("{FORMAT}", format_) for s in statements]
            if config is not None:
                for key in [k for k, v in properties.items() if v == "{CONFIG}"]:
                    properties[key] = config
                    name += f" - {key}={config}"
            yield Case(
                name,
                file,
                tuple(statements),
                tuple(_record(r, is_input=True) for r in test.get("inputs") or ()),
                tuple(_record(r, is_input=False) for r in test.get("outputs") or ()),
                tuple(test.get("topics") or ()),
                properties,
                test.get("expectedException"),
                test.get("post") or {},
                {member: test[member] for member in REST_MEMBERS if member in test} if is_rest else None,
            )


def _record(data: Mapping[str, Any], *, is_input: bool) -> RecordSpec:
    window = data.get("window")
    return RecordSpec(
        data["topic"],
        data.get("key"),
        data["value"],
        data.get("timestamp", 0 if is_input else None),
        None if window is None else (window["start"], window["end"], window["type"].lower()),
        tuple((h["KEY"], h["VALUE"]) for h in data.get("headers") or ()),
    )
