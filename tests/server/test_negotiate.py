"""Accept headers: weights, specificity, wildcards."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_server.negotiate import (
    ARROW,
    DELIMITED,
    JSON,
    KSQL_JSON,
    NotAcceptableError,
    parse_accept,
    select,
)

OFFERED = (DELIMITED, JSON, KSQL_JSON)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("application/json", JSON),
        ("APPLICATION/JSON", JSON),
        (KSQL_JSON, KSQL_JSON),
        ("*/*", DELIMITED),
        ("application/*", DELIMITED),
        ("text/html, application/json", JSON),
        ("application/json;q=0.5, application/vnd.ksql.v1+json", KSQL_JSON),
        ("application/json;q=0.5, application/vnd.ksql.v1+json;q=0.4", JSON),
        ("*/*, application/json", JSON),
        ("*/*;q=0.9, application/json;q=0.1", DELIMITED),
        ("application/json;q=0, */*", DELIMITED),
        ("application/json; charset=utf-8", JSON),
        ("application/json;q=abc", JSON),
        ("application/json;q=7", JSON),
    ],
)
def test_the_best_candidate_that_is_offered_wins(header, expected):
    assert select(header, OFFERED, DELIMITED) == expected


@pytest.mark.parametrize("header", ["text/html", "image/*", ARROW, "application/json;q=0", "nonsense"])
def test_what_is_not_offered_is_not_acceptable(header):
    with pytest.raises(NotAcceptableError):
        select(header, OFFERED, DELIMITED)


def test_ranges_are_ordered_by_weight_then_specificity_then_parameters():
    header = "*/*, text/*, text/html, text/html;level=1, text/plain;q=0.3"
    ordered = [(r.type, r.subtype, r.parameters) for r in parse_accept(header)]
    assert ordered == [
        ("text", "html", 1),
        ("text", "html", 0),
        ("text", "*", 0),
        ("*", "*", 0),
        ("text", "plain", 0),
    ]


@given(st.text(max_size=80))
def test_no_header_breaks_it(header):
    with contextlib.suppress(NotAcceptableError):
        assert select(header, OFFERED, DELIMITED) in (None, *OFFERED)
