"""REST cases: statements and queries for a server, and the answers it must give (section 7)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.conformance.loader import Case

TOPIC = "test_topic"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class RestCase:
    """One expanded REST case.

    Attributes
    ----------
    case : Case
        Name, statements, inputs, outputs, topics and properties.
    responses : tuple of mapping
        Each has one member: ``admin``, ``query`` or ``queryProto``.
    expected_error : mapping or None
        ``type``, ``message``, ``status``, not all absent.
    query_first : bool
        Send the query, and produce the inputs once it runs.
    verify_order : bool
        Whether the rows of a query must come in the order given.
    protobuf : bool
        Send each query to ``/query-stream`` for Protobuf as well.
    """

    case: Case
    responses: tuple[Mapping[str, Any], ...]
    expected_error: Mapping[str, Any] | None
    query_first: bool
    verify_order: bool
    protobuf: bool

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.case.name

    @property
    def file(self) -> str:
        """The file it comes from."""
        return self.case.file

    @property
    def admin(self) -> tuple[str, ...]:
        """The statements that go to ``/ksql``; they precede the queries."""
        return self.case.statements[: len(self.case.statements) - len(self.queries)]

    @property
    def queries(self) -> tuple[str, ...]:
        """The statements that go to ``/query``."""
        return tuple(s for s in self.case.statements if s.startswith("SELECT "))

    def with_own_topic(self) -> RestCase:
        """Return the case with a topic name that no other case has in place of ``test_topic``."""
        own = f"{TOPIC}_{next(_numbers)}"
        case = self.case
        return replace(
            self,
            case=replace(
                case,
                statements=tuple(s.replace(TOPIC, own) for s in case.statements),
                inputs=tuple(replace(r, topic=r.topic.replace(TOPIC, own)) for r in case.inputs),
                outputs=tuple(replace(r, topic=r.topic.replace(TOPIC, own)) for r in case.outputs),
                topics=tuple(_renamed(t, own) for t in case.topics),
            ),
            responses=tuple(_renamed(r, own) for r in self.responses),
            expected_error=_renamed(self.expected_error, own),
        )


def rest_case(case: Case) -> RestCase:
    """Return an expanded case with its REST part read.

    Raises
    ------
    ValueError
        If it breaks a rule of section 7.
    """
    test = case.rest or {}
    found = RestCase(
        case,
        tuple(test.get("responses") or ()),
        test.get("expectedError"),
        bool((test.get("inputConditions") or {}).get("waitForActivePushQuery")),
        bool((test.get("outputConditions") or {}).get("verifyOrder")),
        bool(test.get("testPullWithProtoFormat")),
    )
    if (*found.admin, *found.queries) != case.statements:
        raise ValueError(f"{case.name}: a statement follows the queries")
    if found.expected_error is not None and (case.inputs or not found.expected_error):
        raise ValueError(f"{case.name}: an expected error has members, and no inputs beside it")
    if found.query_first and len(found.queries) != 1:
        raise ValueError(f"{case.name}: one query can run before the inputs come")
    return found


def _renamed(value: Any, own: str) -> Any:
    if isinstance(value, str):
        return value.replace(TOPIC, own)
    if isinstance(value, Mapping):
        return {k: _renamed(v, own) for k, v in value.items()}
    if isinstance(value, list):
        return [_renamed(v, own) for v in value]
    return value
