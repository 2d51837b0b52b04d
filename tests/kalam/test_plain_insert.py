"""INSERTs of plain values are read by a short cut; it must say what the parser says, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.kalam.statements import data
from kalam_jupyter.kalam.stream import TokenStream


def parsed(sql: str) -> object:
    s = TokenStream(sql)
    s.expect_word("INSERT")
    return data.insert(s)


texts = st.text(alphabet="ab'(),;-- $\"\n1", max_size=8).map(lambda t: "'" + t.replace("'", "''") + "'")
numbers = st.one_of(st.integers(0, 10**20).map(str), st.decimals(0, 999, places=3).map(lambda d: f"{d:f}"))
spaces = st.sampled_from(["", " ", "\n "])


@given(
    st.lists(
        st.lists(st.tuples(spaces, st.one_of(texts, numbers), spaces).map("".join), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(
        ["INSERT INTO app.t VALUES ", "insert into t (id, v)values", "INSERT INTO T(id) VALUES\n"]
    ),
    st.sampled_from([", ", ",", " ,\n"]),
)
def test_values_are_those_the_parser_finds(rows: list[list[str]], head: str, comma: str) -> None:
    sql = head + comma.join(f"({','.join(row)})" for row in rows)
    assert data.plain_insert(sql) == parsed(sql)


@pytest.mark.parametrize(
    "values",
    [
        "(1",
        "(1)(2)",
        "(1),",
        "(1) x",
        "(-1)",
        "(NULL)",
        "(1 + 2)",
        "(NOW())",
        "()",
        "('a)",
        "(1) RETURNING id",
        "(1e3)",
    ],
)
def test_everything_else_is_left_to_the_parser(values: str) -> None:
    assert data.plain_insert(f"INSERT INTO app.t VALUES {values}") is None
