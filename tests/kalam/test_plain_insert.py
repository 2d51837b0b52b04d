"""INSERTs of plain values are read by a short cut; it must say what the parser says, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.kalam.expressions import Expression, Literal, Unary
from kalam_jupyter.kalam.statements import data, nodes
from kalam_jupyter.kalam.stream import TokenStream


def parsed(sql: str) -> nodes.Insert:
    """What the parser says, the values of signed numbers included."""
    s = TokenStream(sql)
    s.expect_word("INSERT")
    found = data.insert(s)
    assert isinstance(found, nodes.Insert)
    values = found.values or tuple(tuple(map(value, row)) for row in found.rows)
    return nodes.Insert(found.table, found.columns, values=values)


def value(node: Expression) -> object:
    if isinstance(node, Unary):
        return -node.operand.value  # type: ignore[attr-defined]
    assert isinstance(node, Literal)
    return node.value


texts = st.text(alphabet="ab\n'(),;-- $\"\\[]é{}:1", max_size=8).map(
    lambda t: "'" + t.replace("'", "''") + "'"
)
numbers = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(0, 999, places=3).map(lambda d: f"{d:f}"),
    st.sampled_from(["TRUE", "false", "Null", "1e3", "-2.50"]),
)
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
    assert repr(data.plain_insert(sql)) == repr(parsed(sql))


@pytest.mark.parametrize(
    "values",
    [
        "(1",
        "(1)(2)",
        "(1),",
        "(1) x",
        "(- 1)",
        "(+1)",
        "(.5)",
        "(1, [2])",
        "(1], [2)",
        "({})",
        "('a' 'b')",
        "('a', \"b\")",
        "((1), 2)",
        "(" * 9000 + ")" * 9000,
        "('a'')",
        "('a''",
        "('a'",
        "(x'61')",
        "(1 -- 2\n)",
        "(1 + 2)",
        "(NOW())",
        "()",
        "('a)",
        "(1) RETURNING id",
    ],
)
def test_everything_else_is_left_to_the_parser(values: str) -> None:
    assert data.plain_insert(f"INSERT INTO app.t VALUES {values}") is None
