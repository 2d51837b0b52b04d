"""A statement with its literals lifted out says what it says as it is written, or is left alone."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.kalam import direct, shapes
from kalam_jupyter.kalam.expressions import Literal, Parameter
from kalam_jupyter.kalam.statements import nodes, parse_statement

#: Fields that hold a part of the text, or its place.
TEXTS = {"sql", "where_sql", "where_span"}


def meaning(node: Any, values: list[Any]) -> Any:
    """Return a parsed form with the values in their places, and without texts."""
    if isinstance(node, nodes.Select):
        return meaning(direct.recognise(node.sql), values)
    if isinstance(node, nodes.Update):
        return [meaning(a[:2], values) for a in node.assignments], meaning((node.table, node.where), values)
    if isinstance(node, Parameter):
        return meaning(Literal(values[node.index - 1]), values)
    if is_dataclass(node):
        parts = [meaning(getattr(node, f.name), values) for f in fields(node) if f.name not in TEXTS]
        return type(node), parts
    if isinstance(node, (tuple, list)):
        return [meaning(n, values) for n in node]
    return type(node), node


texts = st.text(alphabet="ab'();-- $%_\"\n1", max_size=8).map(lambda t: "'" + t.replace("'", "''") + "'")
numbers = st.one_of(st.integers(0, 10**20).map(str), st.decimals(0, 999, places=3).map(lambda d: f"{d:f}"))
literals = st.one_of(texts, numbers)
templates = st.sampled_from(
    [
        "SELECT * FROM app.t WHERE id = {0}",
        "select id, name from t1 where v2={0} and name in ({1},{2}) order by id limit 5 offset 2",
        "SELECT count(*) FROM app.t WHERE name LIKE {0} OR v BETWEEN {1} AND {2};",
        "UPDATE app.t SET v = {0}, name={1} WHERE id = {2}",
        "DELETE FROM app.t WHERE id={0}",
        "DELETE FROM app.t WHERE id > {0} AND (name = {1} OR v1 <> {2})",
    ]
)


@given(templates, st.lists(literals, min_size=3, max_size=3))
def test_a_shape_means_what_the_text_means(template: str, values: list[str]) -> None:
    sql = template.format(*values)
    found = shapes.find(sql)
    if found is None:
        assert "$" in sql
        return
    assert meaning(found[0], found[1]) == meaning(parse_statement(sql), [])


def test_values_are_those_of_the_parser() -> None:
    found = shapes.find("UPDATE t SET a = 1, b = 1.50, c = 'it''s' WHERE id = 12345678901234567890")
    assert found is not None
    assert found[1] == [1, Decimal("1.50"), "it's", 12345678901234567890]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t WHERE id = $1",
        "SELECT * FROM t WHERE id = -5",
        "SELECT * FROM t WHERE id = 5 -- '",
        "SELECT * FROM t WHERE id = 5 /* ' */",
        "SELECT * FROM t WHERE id = 1; DELETE FROM t WHERE id = 1",
        "SELECT * FROM t WHERE name = 'a",
        'SELECT "5" FROM t WHERE id = 5',
        "SELECT * FROM t WHERE at = DATE '2026-01-01'",
        "SELECT * FROM t WHERE at > now() - INTERVAL '1 day'",
        "SELECT v + 1 FROM t",
        "SELECT 'x'",
        "UPDATE t SET v = v + 1 WHERE id = 1",
        "UPDATE t SET v = 1",
        "INSERT INTO t VALUES (1 + 1)",
        "DROP TABLE t1",
    ],
)
def test_what_could_be_read_otherwise_has_no_shape(sql: str) -> None:
    assert shapes.find(sql) is None
