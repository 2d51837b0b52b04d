"""The error of a value that cannot be computed."""

from __future__ import annotations


class EvaluationError(Exception):
    """An expression failed for one row: NULL and a processing-log record, never the end of a query."""


class AggregationError(EvaluationError):
    """An aggregate failed for one record, which ends its query (``Exception caught in process``)."""
