"""Reads case files: JSON with comments, every number exact, one expanded case per format and setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kalam_jupyter.ksql.testing.records import RecordSpec, parse, record_of

REST_MEMBERS = (
    "responses",
    "expectedError",
    "inputConditions",
    "outputConditions",
    "testPullWithProtoFormat",
)


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

    @property
    def partitions(self) -> dict[str, int]:
        """Partitions of the topics that the case itself lists."""
        return {t["name"]: t.get("partitions", 1) for t in self.topics}


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
                tuple(record_of(r, is_input=True) for r in test.get("inputs") or ()),
                tuple(record_of(r, is_input=False) for r in test.get("outputs") or ()),
                tuple(test.get("topics") or ()),
                properties,
                test.get("expectedException"),
                test.get("post") or {},
                {member: test[member] for member in REST_MEMBERS if member in test} if is_rest else None,
            )
