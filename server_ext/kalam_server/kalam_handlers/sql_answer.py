"""What ``/v1/api/sql`` answers, as JSON: the envelope of results, and that of a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from kalam_server.kalam_handlers.sql_request import InvalidInputError

if TYPE_CHECKING:
    from kalam_jupyter.kalam import KalamError, Result, Session
    from kalam_jupyter.kalam.errors import StatementError


def success(session: Session, results: Sequence[Result], took: float) -> bytes:
    """Return the envelope of results.

    Raises
    ------
    KalamError
        If a value has no JSON form.
    """
    dialect, mask = _dialect(), not session.is_admin
    try:
        encoded = [dialect.encode(result, mask=mask) for result in results]
    except dialect.error as error:
        raise dialect.failure(error, session.role) from error
    body: dict[str, Any] = {"status": "success", "results": encoded, "took": took}
    if len(results) == 1 and results[0].kind == "rows":
        body["error"] = None
    return orjson.dumps(body)


class _Dialect(NamedTuple):
    """What answering needs of the dialect."""

    encode: Callable[..., dict[str, Any]]
    error: type[StatementError]
    failure: Callable[[StatementError, str], KalamError]


@cache
def _dialect() -> _Dialect:
    """Import the dialect, which a server that is not asked has no use for."""
    from kalam_jupyter.kalam.errors import StatementError, failure
    from kalam_jupyter.kalam.serialize import result_json

    return _Dialect(result_json, StatementError, failure)


def failure(error: BaseException, took: float) -> tuple[int, dict[str, Any]]:
    """Return status and envelope of a failure."""
    from kalam_jupyter.kalam import KalamError

    if isinstance(error, InvalidInputError):
        return error.status, _failed(error.code, str(error), None, took)
    if isinstance(error, KalamError):
        return error.status, _failed(error.code, error.message, error.details, took)
    return 500, _failed("INTERNAL_ERROR", "SQL request failed", None, took)


def _failed(code: str, message: str, details: str | None, took: float) -> dict[str, Any]:
    error = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    return {"status": "error", "results": [], "took": took, "error": error}
