"""The comparison of REST cases judges as section 7 of the conformance contract says."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.loader import Case
from tests.conformance.rest_compare import (
    admin_difference,
    partial_difference,
    query_difference,
    refusal_difference,
    same,
)
from tests.conformance.rest_loader import RestCase, rest_case
from tests.conformance.rest_server import Refusal, exact


@pytest.mark.parametrize(
    ("expected", "actual", "equal"),
    [
        ("1", "1", True),
        ("1", "1.0", False),
        ("1.0", "1", False),
        ("1.20", "1.20", True),
        ("1.20", "1.2", False),
        ("1.2", "1.20", True),  # the case files lost zeros: see the module
        ("1.2", "1.3", False),
        ("true", "1", False),
        ("null", "0", False),
        ('"a"', '"a"', True),
        ('{"a":1}', '{"a":1,"b":2}', False),
        ("[1,[2]]", "[1,[2]]", True),
        ("[1,2]", "[2,1]", False),
    ],
)
def test_values_are_compared_without_tolerance_or_coercion(expected: str, actual: str, equal: bool) -> None:
    assert same(exact(expected), exact(actual)) is equal


def test_only_listed_members_of_an_entity_are_compared() -> None:
    actual = {"@type": "currentStatus", "commandStatus": {"status": "SUCCESS", "message": "x"}}
    assert partial_difference({"commandStatus": {"status": "SUCCESS"}}, actual) is None
    assert partial_difference({"commandStatus": {"status": "ERROR"}}, actual) is not None
    assert partial_difference({"commandId": "x"}, actual) is not None


def test_a_prefix_may_be_asked_for() -> None:
    expected = {"queryId|starts_with": "SCALABLE"}
    assert partial_difference(expected, {"queryId": "SCALABLE_1"}) is None
    assert partial_difference(expected, {"queryId": "transient_1"}) is not None
    assert partial_difference({"queryId|ends_with": "1"}, {"queryId": "1"}) is not None


def test_the_statement_can_be_named() -> None:
    entity = {"statementText": "LIST TOPICS;"}
    assert admin_difference({"statementText": "{STATEMENT}"}, entity, "LIST TOPICS;") is None
    assert admin_difference({"statementText": "{STATEMENT}"}, entity, "LIST STREAMS;") is not None


HEADER = {"header": {"schema": "`A` INTEGER"}}


def _row(*columns: Any, **members: Any) -> dict[str, Any]:
    return {"row": {"columns": list(columns), **members}}


def test_rows_are_a_multiset_unless_their_order_counts() -> None:
    expected, actual = [HEADER, _row(1), _row(2)], [HEADER, _row(2), _row(1)]
    assert query_difference(expected, actual, verify_order=False) is None
    assert query_difference(expected, actual, verify_order=True) is not None
    assert query_difference(expected, [HEADER, _row(1), _row(1)], verify_order=False) is not None
    assert query_difference(expected, [HEADER, _row(1)], verify_order=False) is not None


def test_a_tombstone_that_is_asked_for_must_be_one() -> None:
    assert query_difference([_row(1, tombstone=True)], [_row(1)], verify_order=False) is not None
    assert query_difference([_row(1)], [_row(1, tombstone=True)], verify_order=False) is None


def _case(statements: tuple[str, ...], **rest: Any) -> RestCase:
    return rest_case(Case("f - c", "f", statements, (), (), rest=rest))


def _refusal(**members: Any) -> Refusal:
    body = {"@type": "generic_error", "error_code": 40001, "message": "No such thing.", **members}
    return Refusal(members.pop("status", 400), json.loads(json.dumps(body)))


def test_a_refusal_must_be_the_expected_one() -> None:
    case = _case(("DROP STREAM S;",), expectedError={"message": "such", "status": 400})
    assert refusal_difference(case, _refusal()) is None
    assert refusal_difference(case, _refusal(message="Another.")) is not None
    assert refusal_difference(case, Refusal(404, "Not Found")) is not None
    assert refusal_difference(_case(("DROP STREAM S;",), responses=[]), _refusal()) is not None


def test_an_error_of_a_statement_shows_it() -> None:
    kind = "io.confluent.ksql.rest.entity.KsqlStatementErrorMessage"
    case = _case(("INSERT INTO S (A) VALUES ('secret');",), expectedError={"type": kind})
    shown = "INSERT INTO `S` (`A`) VALUES ('[value]');"
    assert refusal_difference(case, _refusal()) is not None
    assert refusal_difference(case, _refusal(**{"@type": "statement_error", "statementText": shown})) is None
    assert (
        refusal_difference(case, _refusal(**{"@type": "statement_error", "statementText": "S"})) is not None
    )


def test_each_case_has_a_topic_of_its_own() -> None:
    case = _case(("CREATE STREAM S WITH (kafka_topic='test_topic');",), responses=[])
    first, second = case.with_own_topic(), case.with_own_topic()
    assert first.case.statements != second.case.statements
    assert "test_topic" in first.case.statements[0]


def test_a_statement_after_a_query_is_no_valid_case() -> None:
    with pytest.raises(ValueError, match="follows"):
        _case(("SELECT * FROM S;", "DROP STREAM S;"), responses=[])


def test_numbers_of_answers_keep_their_digits() -> None:
    assert exact("[1.10]") == [Decimal("1.10")]
    assert str(exact("[1.10]")[0]) == "1.10"
