"""Runs one REST case against a server of its own (section 7.3)."""

from __future__ import annotations

import base64
import itertools
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf import text_format
from google.protobuf.message_factory import GetMessageClass

from kalam_jupyter.ksql.formats.proto_schema import ProtoSchema
from kalam_jupyter.ksql.testing import serde, topics
from kalam_jupyter.ksql.testing.execution import SETTLE_SECONDS, FailedError
from kalam_jupyter.ksql.testing.records import RecordSpec
from tests.conformance import schemas
from tests.conformance.execution import Outcome
from tests.conformance.loader import Case
from tests.conformance.rest_compare import (
    admin_difference,
    partial_difference,
    query_difference,
    refusal_difference,
    same,
)
from tests.conformance.rest_loader import RestCase, rest_case
from tests.conformance.rest_server import Refusal, Server, Stream, serve


class _RefusedAsExpected(Exception):  # noqa: N818 - not an error
    """The server refused what it should refuse; the case is over."""


def run_rest(case: Case) -> Outcome:
    """Run a case."""
    try:
        with serve() as server:
            _Run(rest_case(case).with_own_topic(), server).judge()
    except _RefusedAsExpected:
        pass
    except (FailedError, topics.MissingTopicError) as failure:
        return Outcome(case.name, case.file, "failed", str(failure))
    except serde.InvalidCaseError as invalid:
        return Outcome(case.name, case.file, "unsupported", str(invalid))
    except Exception as crash:  # whatever breaks is this case's failure, and the next one runs
        where = traceback.extract_tb(crash.__traceback__)[-1]
        text = f"crash: {type(crash).__name__}: {crash} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
        return Outcome(case.name, case.file, "failed", text)
    return Outcome(case.name, case.file, "passed")


class _Run:
    def __init__(self, case: RestCase, server: Server) -> None:
        self.case, self.server = case, server
        self.properties = case.case.properties

    def judge(self) -> None:
        """Send everything, and compare what comes back."""
        case, admin = self.case.case, "\n".join(self.case.admin)
        topics.create_topics(self.server.ksql, admin, case.inputs, case.outputs, case.partitions)
        schemas.register_schemas(self.server.ksql, admin, case.topics)
        actual: list[tuple[str, Any]] = [("admin", e) for e in self._admin()]
        if self.case.query_first:
            stream = self._accepted(self.server.query(self.case.queries[0], self.properties))
            header = stream.first()
            self._produce()
            actual.append(("query", [header, *stream.rest()]))
        else:
            self._produce()
            actual += [("query", self._query(q)) for q in self.case.queries]
        if self.case.protobuf:
            actual += [("queryProto", self._protobuf(q)) for q in self.case.queries]
        if self.case.expected_error is not None:
            raise FailedError(f"no error; expected {self.case.expected_error}")
        self._compare(actual)
        self._compare_outputs()

    def _accepted(self, answer: Any) -> Any:
        """Return an answer that is not a refusal; one that was expected ends the case well."""
        if isinstance(answer, Refusal):
            wrong = refusal_difference(self.case, answer)
            if wrong:
                raise FailedError(wrong)
            raise _RefusedAsExpected
        return answer

    def _admin(self) -> list[Any]:
        if not self.case.admin:
            return []
        answer: list[Any] = self._accepted(
            self.server.statements("\n".join(self.case.admin), self.properties)
        )
        return answer

    def _query(self, text: str) -> list[Any]:
        stream: Stream = self._accepted(self.server.query(text, self.properties))
        return [stream.first(), *stream.rest()]

    def _produce(self) -> None:
        """Produce the inputs, and let the persistent queries consume them.

        The reference produces topic by topic; its queries then take, of the records that wait in several
        topics, the one with the lowest timestamp. Here a query takes records as they were appended, so they
        are appended in the order in which the reference would take them.
        """
        ksql = self.server.ksql
        waiting: dict[str, deque[RecordSpec]] = {}
        for record in self.case.case.inputs:
            waiting.setdefault(record.topic, deque()).append(record)
        merged: list[RecordSpec] = []
        while any(waiting.values()):
            first = min((q for q in waiting.values() if q), key=lambda q: q[0].timestamp or 0)
            merged.append(first.popleft())
        topics.append(ksql, merged, spread=True)
        if not ksql.engine.settle(SETTLE_SECONDS):
            raise FailedError("the persistent queries did not settle")

    # Protobuf

    def _protobuf(self, text: str) -> list[Any]:
        """Send a query for Protobuf; return its elements as cases write them."""
        stream: Stream = self._accepted(self.server.protobuf_query(text, self.properties))
        header = stream.first()
        message = ProtoSchema.of(header["header"]["protoSchema"]).message(None)
        assert message is not None
        kind = GetMessageClass(message)

        def shown(element: Any) -> Any:
            if "row" not in element:
                return element
            data = base64.b64decode(element["row"]["protobufBytes"], validate=True)
            return {"row": text_format.MessageToString(kind.FromString(data))}

        return [header, *map(shown, stream.rest())]

    # Comparison

    def _compare(self, actual: Sequence[tuple[str, Any]]) -> None:
        for i, expected in enumerate(self.case.responses):
            ((kind, want),) = expected.items()
            if i >= len(actual):
                raise FailedError(f"response {i} is missing")
            found_kind, got = actual[i]
            if kind != found_kind:
                raise FailedError(f"response {i}: expected {kind}, got {found_kind}")
            if kind == "admin":
                wrong = admin_difference(want, got, self.case.case.statements[i])
            elif kind == "query":
                wrong = query_difference(want, got, verify_order=self.case.verify_order)
            else:
                wrong = _protobuf_difference(want, got, verify_order=self.case.verify_order)
            if wrong:
                raise FailedError(f"response {i}: {wrong}")

    def _compare_outputs(self) -> None:
        expected = sorted(self.case.case.outputs, key=lambda r: r.topic)
        for topic, records in itertools.groupby(expected, key=lambda r: r.topic):
            wanted = list(records)
            actual = list(topics.read(self.server.ksql, topic))
            if len(actual) < len(wanted):
                raise FailedError(f"{topic}: expected {len(wanted)} records, got {len(actual)}")
            for i, (want, got) in enumerate(zip(wanted, actual, strict=False)):
                # Only key, value and timestamp count here.
                want = replace(want, window=got.window, headers=())
                wrong = topics.record_difference(want, replace(got, headers=()))
                if not same(want.key, got.key):
                    wrong = f"key: expected {want.key!r}, got {got.key!r}"
                if wrong:
                    raise FailedError(f"{topic}[{i}] {wrong}")


def _protobuf_difference(expected: Sequence[Any], actual: Sequence[Any], *, verify_order: bool) -> str | None:
    if len(expected) != len(actual):
        return f"expected {len(expected)} elements, got {len(actual)}: {actual!r}"
    for want, got in zip(expected, actual, strict=True):
        for member in ("header", "finalMessage"):
            if member in want and (wrong := partial_difference(want[member], got.get(member), member)):
                return wrong
    wanted, found = list(_texts(expected)), list(_texts(actual))
    if not verify_order:
        wanted, found = sorted(wanted), sorted(found)
    return None if wanted == found else f"rows: expected {wanted!r}, got {found!r}"


def _texts(elements: Sequence[Any]) -> Iterator[str]:
    return (e["row"] for e in elements if "row" in e)
