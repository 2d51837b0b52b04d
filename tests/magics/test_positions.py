from __future__ import annotations

import pytest

from kalam_jupyter.magics.errors import SqlError
from kalam_jupyter.magics.positions import locate, position_of

MANY = "\nSELECT 1;\n-- the second\n  DELETE shop.items;  SELECT\n 2 frm x;"


@pytest.mark.parametrize(
    ("message", "text", "where"),
    [
        ("Expected: FROM, found: shop at Line: 2, Column: 10", MANY, (4, 10)),
        ("Expected: FROM, found: shop at Line: 1, Column: 8", MANY, (4, 10)),
        ('ParserError("Expected: end of statement, found: x at Line: 2, Column: 8")', MANY, (5, 8)),
        ("Expected: WITH, found: end of statement at Line: 1, Column: 16", "\n\nCREATE USER bob;", (3, 16)),
        ("Unterminated string literal at Line: 1, Column: 8", "\nSELECT 1; SELECT 'abc;", (2, 18)),
        ("Expected: FROM, found: elsewhere at Line: 1, Column: 8", MANY, None),
        ("Table 'app.userz' not found", "SELECT 1\nFROM app.userz", (2, 6)),
        ("No field named delai. Valid", "SELECT delai FROM t", (1, 8)),
        ("something else", "SELECT 1", None),
    ],
)
def test_kalamdb_counts_from_the_statement_that_it_refuses(message, text, where):
    offset = locate(message, text, "kalam")
    assert (None if offset is None else position_of(text, offset)) == where


def test_a_name_is_looked_for_in_the_statement_that_was_refused():
    text = "SELECT nme FROM a;\nSELECT nme FROM b;"
    offset = locate("No field named nme.", text, "kalam", "SELECT nme FROM b")
    assert offset is not None and position_of(text, offset) == (2, 8)


@pytest.mark.parametrize("cell", ["%%kalam\nSELECT 1;\nDELETE shop.items;", "%%kalam\nDELETE\n  shop.items;"])
def test_a_cell_shows_the_word_that_was_refused(run, cell):
    with pytest.raises(SqlError) as caught:
        run(cell)
    assert caught.value.token == "shop"
