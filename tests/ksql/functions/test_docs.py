"""The function reference is what the registry says."""

from __future__ import annotations

from pathlib import Path

from kalam_jupyter.ksql.functions import docs


def test_the_function_reference_is_up_to_date() -> None:
    page = Path(__file__).parents[3] / "docs" / "functions.md"
    assert page.read_text(encoding="utf-8") == docs.render(), (
        "run python -m kalam_jupyter.ksql.functions.docs"
    )
