"""The error of a value that cannot be computed."""

from __future__ import annotations


class EvaluationError(Exception):
    """An expression failed for one row: NULL and a processing-log record, never the end of a query."""


class AggregationError(EvaluationError):
    """An aggregate failed for one record, which ends its query (``Exception caught in process``)."""


def failure_text(error: BaseException) -> str:
    """Return what users are told of an expression that failed; a NULL operand fails as Python has it."""
    if isinstance(error, TypeError | AttributeError):
        return "null in an operation that needs a value"
    return str(error) or type(error).__name__
