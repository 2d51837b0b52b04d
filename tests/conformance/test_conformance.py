"""The cases of the ksqlDB project: what fails is exactly what is listed. And our own: all pass."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance import runner

OWN_CASES = Path(__file__).with_name("cases")
_BESIDE = Path(__file__).parents[3] / "shared" / "conformance"
CASES = Path(os.environ.get("KALAM_CONFORMANCE", _BESIDE / "qtt"))
REST_CASES = Path(os.environ.get("KALAM_REST_CONFORMANCE", _BESIDE / "rqtt"))


def _check(cases: Path, known_failures: Path, *, columns: bool = False) -> None:
    outcomes = runner.run_all(runner.cases([cases]), columns=columns)
    failed = {o.name: o.reason for o in outcomes if o.status != "passed"}
    known = set(runner.known_failures(known_failures))
    assert {name: failed[name] for name in failed if name not in known} == {}, "failing, and not listed"
    assert known - failed.keys() == set(), "listed as failing, and passing"


@pytest.mark.parametrize("columns", [False, True], ids=["rows", "columns"])
def test_our_own_cases_pass(columns: bool) -> None:
    outcomes = runner.run_all(runner.cases([OWN_CASES]), workers=1, columns=columns)
    assert {o.name: o.reason for o in outcomes if o.status != "passed"} == {}


@pytest.mark.timeout(900)
@pytest.mark.skipif(not CASES.is_dir(), reason="the cases do not lie beside the project (KALAM_CONFORMANCE)")
@pytest.mark.parametrize("columns", [False, True], ids=["rows", "columns"])
def test_the_failures_are_those_that_are_known(columns: bool) -> None:
    _check(CASES, runner.KNOWN_FAILURES, columns=columns)


@pytest.mark.timeout(900)
@pytest.mark.skipif(
    not REST_CASES.is_dir(), reason="the cases do not lie beside the project (KALAM_REST_CONFORMANCE)"
)
def test_the_failures_over_http_are_those_that_are_known() -> None:
    _check(REST_CASES, runner.KNOWN_REST_FAILURES)
