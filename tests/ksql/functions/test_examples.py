"""Every function's documented examples hold, and every scalar function has one."""

from __future__ import annotations

import pytest

from tests.ksql.functions.evaluate import REGISTRY, show

EXAMPLES = [example for function in REGISTRY.functions() for example in function.examples]
UNPREDICTABLE = {"RANDOM", "UUID", "UNIX_TIMESTAMP", "UNIX_DATE"}


@pytest.mark.parametrize(("expression", "expected"), EXAMPLES, ids=[e for e, _ in EXAMPLES])
def test_example_gives_what_the_documentation_says(expression: str, expected: str) -> None:
    assert show(expression) == expected


def test_every_scalar_function_has_an_example_and_every_function_a_description() -> None:
    functions = [f for f in REGISTRY.functions() if f.author != "user"]
    lacking = {f.name for f in functions if f.kind == "SCALAR" and not f.examples} - UNPREDICTABLE
    assert not lacking
    assert not [f.name for f in functions if len(f.description) < 10]
