"""Whether a server answered what a case expects (sections 7.1 and 7.2). No tolerance, no coercion.

Numbers keep their digits on both sides. As `kalam_jupyter.ksql.testing.compare` explains, a float literal of
the case files may be the shortest text of a double that had more zeros once; it then stands for those, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kalam_jupyter.ksql.lang.parser import parse_script
from kalam_jupyter.ksql.testing.compare import same_decimal, show
from tests.conformance.rest_loader import RestCase
from tests.conformance.rest_server import Refusal

STATEMENT_ERROR = "io.confluent.ksql.rest.entity.KsqlStatementErrorMessage"


def same(expected: Any, actual: Any) -> bool:
    """Whether two JSON values are equal: 1 is not 1.0, and 1.0 is not 1.00."""
    if isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and expected.keys() == actual.keys()
            and all(same(v, actual[k]) for k, v in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(itertools.starmap(same, zip(expected, actual, strict=True)))
        )
    if isinstance(expected, Decimal):
        return isinstance(actual, Decimal) and (
            same_decimal(expected, actual) or _printed_alike(expected, actual)
        )
    return type(expected) is type(actual) and bool(expected == actual)


def _printed_alike(expected: Decimal, actual: Decimal) -> bool:
    """Whether `expected` is what `actual` becomes when it goes through a double."""
    return same_decimal(expected, Decimal(repr(float(actual))))


def partial_difference(expected: Any, actual: Any, path: str = "") -> str | None:
    """Compare the members that are listed, in objects within objects too; all else in full.

    A name may end in ``|starts_with``: the text then need only begin so.
    """
    if not isinstance(expected, dict):
        if same(expected, actual):
            return None
        return f"{path}: expected {show(expected)}, got {show(actual)}"
    if not isinstance(actual, dict):
        return f"{path}: expected an object, got {show(actual)}"
    for member, item in expected.items():
        name, _, operator = member.partition("|")
        if name not in actual:
            return f"{path}.{name} is missing in {show(actual)}"
        found = actual[name]
        if operator == "starts_with":
            if not isinstance(found, str) or not found.startswith(item):
                return f"{path}.{name}: expected to start with {item!r}, got {show(found)}"
        elif operator:
            return f"{path}.{name}: unknown operator {operator!r}"
        elif wrong := partial_difference(item, found, f"{path}.{name}"):
            return wrong
    return None


def admin_difference(expected: Any, actual: Any, statement: str) -> str | None:
    """Compare an entity; ``{STATEMENT}`` in a text stands for the statement."""
    return partial_difference(_with_statement(expected, statement), actual)


def _with_statement(value: Any, statement: str) -> Any:
    if isinstance(value, str):
        return value.replace("{STATEMENT}", statement)
    if isinstance(value, Mapping):
        return {k: _with_statement(v, statement) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_statement(v, statement) for v in value]
    return value


def query_difference(expected: Sequence[Any], actual: Sequence[Any], *, verify_order: bool) -> str | None:
    """Compare a query's answer: element by element, the rows as a multiset unless their order counts."""
    if len(expected) != len(actual):
        return f"expected {len(expected)} elements, got {len(actual)}: {show(list(actual))}"
    for i, (want, got) in enumerate(zip(expected, actual, strict=True)):
        listed = want if verify_order else _without_columns(want)
        if wrong := partial_difference(listed, got, f"[{i}]"):
            return wrong
    if verify_order:
        return None
    left = [_columns(e) for e in actual]
    for want in map(_columns, expected):
        at = next((i for i, got in enumerate(left) if same(want, got)), None)
        if at is None:
            return f"no row {show(want)} among {show(left)}"
        del left[at]
    return None


def _without_columns(element: Any) -> Any:
    if isinstance(element.get("row"), dict):
        return {**element, "row": {k: v for k, v in element["row"].items() if k != "columns"}}
    return element


def _columns(element: Any) -> Any:
    row = element.get("row")
    return row.get("columns") if isinstance(row, dict) else None


def refusal_difference(case: RestCase, refusal: Refusal) -> str | None:
    """Compare a refusal with the error that a case expects."""
    expected = case.expected_error
    body = refusal.body
    if expected is None or not isinstance(body, dict):
        return f"refused: {refusal.status} {show(body)}"
    if "message" in expected and expected["message"] not in body["message"]:
        return f"message: expected {expected['message']!r}, got {body['message']!r}"
    if "status" in expected and expected["status"] != refusal.status:
        return f"status: expected {expected['status']}, got {refusal.status}"
    if refusal.status != body["error_code"] // 100:
        return f"status {refusal.status} with code {body['error_code']}"
    if expected.get("type") == STATEMENT_ERROR:
        if body["@type"] != "statement_error":
            return f"expected a statement error, got {show(body)}"
        shown = parse_script(case.case.statements[-1])[0].shown_text
        if shown not in body["statementText"]:
            return f"statementText: expected {shown!r}, got {body['statementText']!r}"
    return None
