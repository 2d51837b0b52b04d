"""How a script is cut into requests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.client import ClientError, Session
from kalam_jupyter.client.script import split_script


def shape(text):
    return [(p.is_query, [s.text for s in p.statements]) for p in split_script(text)]


def test_queries_go_alone_and_the_rest_together():
    assert shape("LIST STREAMS; SHOW TABLES; SELECT 1 FROM S; print 't'; DROP STREAM S") == [
        (False, ["LIST STREAMS;", "SHOW TABLES;"]),
        (True, ["SELECT 1 FROM S;"]),
        (True, ["print 't';"]),
        (False, ["DROP STREAM S;"]),
    ]


def test_semicolons_in_strings_and_comments_do_not_cut():
    text = "INSERT INTO S VALUES ('a;b'); -- c;d\n/* e;f */ SELECT * FROM `x;y`;"
    assert [len(statements) for _, statements in shape(text)] == [1, 1]


@pytest.mark.parametrize("text", ["", ";", " ;; \n", "-- nothing", "/* ; */"])
def test_nothing_gives_no_request(text):
    assert split_script(text) == []


def test_positions_are_those_of_the_script():
    text = "LIST STREAMS;\n\n  LIST TABLES;   SELECT * FROM S;"
    _, query = split_script(text)
    lines = query.text.split("\n")
    assert len(lines) == 3
    assert lines[2].index("SELECT") == text.split("\n")[2].index("SELECT")


def test_an_open_quote_is_an_error_with_a_position():
    with pytest.raises(ClientError) as refused:
        split_script("LIST STREAMS;\n'oops")
    assert refused.value.line == 2


@given(st.text(alphabet="SELECT;'\n -x*/$`\"", max_size=60))
def test_any_text_is_cut_or_refused(text):
    try:
        parts = split_script(text)
    except ClientError:
        return
    for part in parts:
        for statement in part.statements:
            assert statement.text.rstrip(";").strip() in text


def test_a_session_follows_settings():
    session = Session()
    for text in (
        "SET 'a.b' = 'it''s';",
        "define X = '1';",
        "DEFINE x = '2'",
        "SET 'gone'='1'; UNSET 'gone';",
    ):
        for part in split_script(text):
            session.apply(part.statements)
    assert session.properties == {"a.b": "it's"}
    assert session.variables == {"x": "2"}
