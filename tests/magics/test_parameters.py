from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.client.literals import literal
from kalam_jupyter.magics.errors import SqlError
from kalam_jupyter.magics.parameters import bind


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (pd.NA, "NULL"),
        (pd.NaT, "NULL"),
        (float("nan"), "NULL"),
        (True, "TRUE"),
        (7, "7"),
        (np.int64(7), "7"),
        (np.bool_(False), "FALSE"),
        (2.0, "2.0"),
        (1e300, "1e+300"),
        (decimal.Decimal("1E+3"), "1000"),
        ("it's", "'it''s'"),
        (dt.date(2013, 1, 2), "'2013-01-02'"),
        (dt.datetime(2013, 1, 2, 3, 4, 5), "'2013-01-02T03:04:05.000'"),
        (dt.datetime(2013, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2))), "'2013-01-02T01:00:00.000'"),
        (pd.Timestamp("2013-01-02"), "'2013-01-02T00:00:00.000'"),
    ],
)
@pytest.mark.parametrize("dialect", ["ksql", "kalam"])
def test_values_become_typed_literals(value, text, dialect):
    assert literal(value, dialect) == text


def test_collections_are_written_as_each_dialect_has_them():
    assert literal([1, "a"], "ksql") == "ARRAY[1, 'a']"
    assert literal({"a": 1}, "ksql") == "STRUCT(`a` := 1)"
    assert literal({"a": [1]}, "kalam") == """'{"a": [1]}'"""
    assert literal(np.array([0.5, 1.0]), "kalam") == "'[0.5, 1.0]'"
    assert literal(pd.Series([1, 2]), "ksql") == "ARRAY[1, 2]"
    assert literal(b"\x01\xff", "kalam") == "X'01ff'"


@pytest.mark.parametrize("value", [float("inf"), object(), b"x", pd.DataFrame({"a": [1]})])
def test_what_has_no_literal_is_refused(value):
    with pytest.raises(TypeError):
        literal(value, "ksql")


def test_names_are_bound_outside_quotes_and_comments_only():
    text = "SELECT ':v', a::int, m[1:2], \":v\" FROM t WHERE b = :v -- :v\nAND x := 1"
    expected = "SELECT ':v', a::int, m[1:2], \":v\" FROM t WHERE b = 5 -- :v\nAND x := 1"
    assert bind(text, {"v": 5}, "kalam").text == expected


@pytest.mark.parametrize("values", [["a", "it's"], ("a", "it's"), pd.Series(["a", "it's"])])
@pytest.mark.parametrize("dialect", ["ksql", "kalam"])
def test_a_list_after_in_is_its_values(values, dialect):
    bound = bind("SELECT * FROM t WHERE a not in :v AND b = 1", {"v": values}, dialect)
    assert bound.text == "SELECT * FROM t WHERE a not in ('a', 'it''s') AND b = 1"


@pytest.mark.parametrize(("value", "why"), [([], "it is empty"), (7, "IN takes a list of values")])
def test_in_needs_values(value, why):
    with pytest.raises(SqlError, match=why):
        bind("SELECT * FROM t WHERE a IN :v", {"v": value}, "ksql")


def test_text_cannot_break_out():
    bound = bind("SELECT * FROM t WHERE a = :v;", {"v": "'; DROP TABLE t; --"}, "ksql")
    assert bound.text == "SELECT * FROM t WHERE a = '''; DROP TABLE t; --';"


@given(st.text())
def test_any_text_is_one_quoted_literal(value):
    text = literal(value, "ksql")
    assert text[0] == text[-1] == "'" and text[1:-1].replace("''", "'") == value
    assert text[1:-1].count("'") % 2 == 0


@given(st.integers(0, 40))
def test_positions_lead_back_to_the_cell_as_written(offset):
    bound = bind("a :x b :long_name c", {"x": "0123456789", "long_name": 1}, "ksql")
    position = bound.text.find("c")
    assert bound.original[bound.original_offset(position)] == "c"
    assert bound.original[bound.original_offset(bound.text.find("b"))] == "b"
    assert bound.original_offset(bound.text.find("012") + 3) == bound.original.find(":x")
    assert 0 <= bound.original_offset(min(offset, len(bound.text))) <= len(bound.original)


def test_an_unknown_name_is_marked_and_a_near_one_suggested():
    with pytest.raises(SqlError) as caught:
        bind("SELECT 1,\n  :treshold;", {"threshold": 5}, "ksql")
    assert (caught.value.line, caught.value.column) == (2, 3)
    assert caught.value.hint == "Did you mean threshold?"


def test_templates_are_refused_with_the_way_out():
    with pytest.raises(SqlError, match=r"paste text into SQL") as caught:
        bind("SELECT * FROM t WHERE a = {{ name }}", {}, "kalam")
    assert "Write :name instead" in caught.value.hint
