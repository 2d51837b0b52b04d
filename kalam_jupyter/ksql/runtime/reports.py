"""Reports for the processing log: what went wrong with single records, without stopping anything."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from kalam_jupyter.engine.batch import Batch, DecodeError, StoredBatch
from kalam_jupyter.ksql.values.errors import failure_text

#: Most reports that one batch of a query adds to the log; the rest are counted.
MAX_REPORTS = 1000


class Reporter:
    """Collects the reports of one query; `drain` hands them over as a batch of JSON records.

    Parameters
    ----------
    query_id : str
        Names the logger: ``processing.<query id>.<step>``.
    """

    def __init__(self, query_id: str) -> None:
        self._query_id = query_id
        self._pending: list[dict[str, Any]] = []
        self._dropped = 0
        self.total = 0

    def _add(self, step: str, kind: int, detail_name: str, detail: dict[str, Any]) -> None:
        self.total += 1
        if len(self._pending) >= MAX_REPORTS:
            self._dropped += 1
            return
        self._pending.append(
            {
                "level": "ERROR",
                "logger": f"processing.{self._query_id}.{step}",
                "message": {"type": kind, detail_name: detail},
            }
        )

    def deserialization(self, stored: StoredBatch, topic: str, error: DecodeError) -> None:
        """Report a record whose bytes could not be read."""
        data = None if error.data is None else base64.b64encode(error.data).decode()
        detail: dict[str, Any] = {
            "target": error.target,
            "errorMessage": error.message,
            "recordB64": data,
            "cause": [],
            "topic": topic,
        }
        self._add("deserializer", 0, "deserializationError", detail)

    def expression(self, error: BaseException) -> None:
        """Report an expression that failed for one record."""
        text = failure_text(error)
        self._add(
            "expression", 1, "recordProcessingError", {"errorMessage": text, "record": None, "cause": []}
        )

    def record_error(self, topic: str, message: str, offset: int | None = None) -> None:
        """Report a record that an operator had to drop."""
        detail: dict[str, Any] = {
            "errorMessage": message,
            "record": None,
            "cause": [],
            "topic": topic,
            "offset": offset,
        }
        self._add("record", 1, "recordProcessingError", detail)

    def serialization(self, topic: str, message: str) -> None:
        """Report a result that could not be written."""
        detail: dict[str, Any] = {
            "target": "value",
            "errorMessage": message,
            "record": None,
            "cause": [],
            "topic": topic,
        }
        self._add("serializer", 2, "serializationError", detail)

    def drain(self, now_ms: int) -> Batch | None:
        """Return the reports since the last call as one batch; None if there are none."""
        if not self._pending:
            return None
        pending, self._pending = self._pending, []
        if self._dropped:
            pending[-1]["message"]["dropped"] = self._dropped
            self._dropped = 0
        for report in pending:
            report["time"] = now_ms
        values = [orjson.dumps(report) for report in pending]
        return Batch([now_ms] * len(values), raw=([None] * len(values), values))
