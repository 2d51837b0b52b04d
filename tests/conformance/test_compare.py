"""The judge is judged first: loading and comparing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kalam_jupyter.ksql.testing.compare import difference
from kalam_jupyter.ksql.testing.records import parse
from tests.conformance.loader import expand


def number(text: str) -> object:
    return parse(text)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (None, None),
        (True, True),
        ("x", "x"),
        ("2.0", Decimal("2.0")),
        ("AQ==", b"\x01"),
        ("NaN", float("nan")),
        (1, 1),
        (1, 1.0000001),
        (10000000000, Decimal("1.0E10")),
        (Decimal("12.10"), Decimal("12.10")),
        (Decimal("0.0"), Decimal("-0.0")),
        (Decimal("12.3"), Decimal("12.30")),
        (Decimal("10.123451234512345"), Decimal("10.1234512345123451234")),
        (Decimal("1.7"), 1),
        (Decimal("1.5"), 1.5000001),
        ([1, None], [1, None]),
        ({"a": 1, "B": {"c": "x"}}, {"A": 1, "B": {"C": "x"}}),
        ({"a": None}, {"zzz": 1}),
    ],
)
def test_these_are_equal(expected: object, actual: object) -> None:
    assert difference(expected, actual) is None


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (None, 0),
        (None, ""),
        (True, 1),
        (1, True),
        (1, None),
        (1, "1"),
        ("1", 1),
        ("2.0", Decimal("2.00")),
        (1, Decimal("1.0")),
        (1, 1.001),
        (2**70, 2**70),
        (Decimal("12.10"), Decimal("12.1")),
        (Decimal("1.0E10"), Decimal("10000000000.0")),
        (Decimal("1.20"), Decimal("1.2")),
        (Decimal("0.7580764521133173"), Decimal("0.7580764521133174")),
        (Decimal("1.5"), Decimal("1.5000001")),
        (Decimal("1.7"), 2),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"A": 1, "B": None}),
        ({"A": 1}, {"a": 1}),
        ({}, None),
    ],
)
def test_these_are_not_equal(expected: object, actual: object) -> None:
    assert difference(expected, actual) is not None


def test_comments_are_dropped_outside_strings_only() -> None:
    text = '{"a": "http://x /* y */", // b\n /* c " */ "d": [1.10, 1e2, 12345678901234567890]}'
    assert parse(text) == {
        "a": "http://x /* y */",
        "d": [Decimal("1.10"), Decimal("1e2"), 12345678901234567890],
    }
    assert str(parse("1.10")) == "1.10"


def test_a_case_is_expanded_by_format_and_setting() -> None:
    test = {
        "name": "n",
        "format": ["JSON", "AVRO"],
        "config": ["true", "false"],
        "properties": {"p": "{CONFIG}"},
        "statements": ["CREATE .. '{FORMAT}';"],
        "inputs": [{"topic": "t", "value": None}],
        "outputs": [{"topic": "u", "value": 1, "window": {"start": 1, "end": 2, "type": "Time"}}],
    }
    cases = list(expand(test, "f"))
    assert [c.name for c in cases] == [
        "f - n - JSON - p=true",
        "f - n - JSON - p=false",
        "f - n - AVRO - p=true",
        "f - n - AVRO - p=false",
    ]
    assert cases[3].statements == ("CREATE .. 'AVRO';",)
    assert cases[3].properties == {"p": "false"}
    assert (cases[0].inputs[0].timestamp, cases[0].outputs[0].timestamp) == (0, None)
    assert cases[0].outputs[0].window == (1, 2, "time")
