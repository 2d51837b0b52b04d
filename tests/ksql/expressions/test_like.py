"""LIKE means what it did when it tried everything, without trying everything."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.ksql.expressions.like import like

TERMINATORS = "\n\r\u0085\u2028\u2029"


def tries_everything(value: str, pattern: str) -> bool:
    one = f"[^{TERMINATORS}]"
    parts = {"%": f"{one}*", "_": one}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), value) is not None


@given(st.text("aab\n\u2028", max_size=10), st.text("ab%_%\n", max_size=7))
def test_any_text_is_matched_as_by_trying_everything(value: str, pattern: str) -> None:
    assert like(value, pattern) == tries_everything(value, pattern)


def test_many_wildcards_end() -> None:
    assert not like("a" * 5000, "%a" * 30 + "%b")
    assert like("a" * 5000 + "b", "%a" * 30 + "%b")
