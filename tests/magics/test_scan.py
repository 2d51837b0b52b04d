from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.magics.scan import blanked, ends_in_comment, padded, split_cell


def test_statements_end_at_semicolons_outside_quotes_and_comments():
    cell = "SELECT ';' FROM a; -- not; here\nSELECT `b;` /* ; */ FROM b;\n\nSELECT \"c;\""
    assert [s.text for s in split_cell(cell)] == [
        "SELECT ';' FROM a;",
        "SELECT `b;` /* ; */ FROM b;",
        'SELECT "c;"',
    ]


def test_doubled_quotes_stay_inside():
    assert [s.text for s in split_cell("SELECT 'it''s; fine'; SELECT 2;")] == [
        "SELECT 'it''s; fine';",
        "SELECT 2;",
    ]


def test_empty_statements_are_left_out():
    assert list(split_cell(" ;; \n-- nothing\n;")) == []


def test_an_assignment_is_taken_off():
    (statement,) = split_cell("\n  worst << SELECT 1;")
    assert (statement.target, statement.text, statement.word) == ("worst", "SELECT 1;", "SELECT")


def test_the_assignment_may_stand_on_the_magics_line():
    (statement,) = split_cell(" worst <<\nSELECT 1")
    assert (statement.target, statement.text) == ("worst", "SELECT 1")


def test_comments_in_front_do_not_hide_the_first_word():
    (statement,) = split_cell("-- all of them\n/* now */ select 1")
    assert statement.word == "SELECT"


@given(st.text(alphabet="ab';\"`-/*\n "))
def test_blanking_keeps_every_position(text):
    blank = blanked(text)
    assert len(blank) == len(text)
    assert all(b in (" ", t) for b, t in zip(blank, text, strict=True))
    assert [i for i, c in enumerate(blank) if c == "\n"] == [i for i, c in enumerate(text) if c == "\n"]


@given(st.text(alphabet="ab';\n ", max_size=30))
def test_a_statement_moved_to_its_place_stands_where_it_stood(text):
    for statement in split_cell(text):
        moved = padded(text, statement.start, statement.text)
        assert text.count("\n", 0, statement.start) == len(moved) - len(moved.lstrip("\n"))
        assert moved.lstrip("\n ").startswith(statement.text.lstrip()) or not statement.text.strip()


@pytest.mark.parametrize(
    ("text", "does"),
    [("a -- b", True), ("a '--'", False), ("-- a\nb", False), ("a /* -- */", False), ("", False)],
)
def test_a_comment_at_the_end_is_seen(text, does):
    assert ends_in_comment(text) == does
