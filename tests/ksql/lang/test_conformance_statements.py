"""Every statement of ksqlDB's own cases parses, or fails with the message that its case expects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang import parse_script, parse_statement
from tests.conformance.loader import find_files, parse

CASES = Path(
    os.environ.get("KALAM_CONFORMANCE", Path(__file__).parents[4] / "shared" / "conformance" / "qtt")
).parent
FILES = find_files([folder for name in ("qtt", "rqtt") if (folder := CASES / name).is_dir()])


@pytest.mark.skipif(not FILES, reason="the cases do not lie beside the project (KALAM_CONFORMANCE)")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_statements_of_a_file(path: Path) -> None:
    for case in parse(path.read_text(encoding="utf-8"))["tests"]:
        expected = case.get("expectedException") or case.get("expectedError") or {}
        texts = [text.replace("{FORMAT}", "JSON") for text in case["statements"]]
        # The runner of query tests sends one script; that of REST tests sends each query on its own.
        scripts = texts if path.parent.name == "rqtt" else ["\n".join(texts)]
        error = first_error(scripts)
        if error is not None:
            assert expected.get("message", "") in error, f"{case['name']}: {error}"
        elif str(expected.get("type", "")).endswith("ParseFailedException"):
            pytest.fail(f"{case['name']}: parsed, and should not have")


def first_error(scripts: list[str]) -> str | None:
    for script in scripts:
        try:
            for statement in parse_script(script, terminated=False):
                assert parse_statement(str(statement.ast)) == statement.ast
        except ParseError as error:
            return error.full_message
    return None
