"""What ``/v1/api/sql`` answers, as JSON: the envelope of results, and that of a failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from kalam_server.kalam_handlers.sql_request import InvalidInputError

if TYPE_CHECKING:
    from kalam_jupyter.kalam import Result, Session


def success(session: Session, results: Sequence[Result], took: float) -> bytes:
    """Return the envelope of results.

    Raises
    ------
    KalamError
        If a value has no JSON form.
    """
    from kalam_jupyter.kalam.errors import StatementError
    from kalam_jupyter.kalam.errors import failure as answer_to
    from kalam_jupyter.kalam.serialize import result_json

    mask = not session.is_admin
    try:
        encoded = [result_json(result, mask=mask) for result in results]
    except StatementError as error:
        raise answer_to(error, session.role) from error
    body: dict[str, Any] = {"status": "success", "results": encoded, "took": took}
    if len(results) == 1 and results[0].kind == "rows":
        body["error"] = None
    return orjson.dumps(body)


def failure(error: BaseException, took: float) -> tuple[int, dict[str, Any]]:
    """Return status and envelope of a failure."""
    from kalam_jupyter.kalam import KalamError

    if isinstance(error, InvalidInputError):
        return 400, _failed(error.code, str(error), None, took)
    if isinstance(error, KalamError):
        return error.status, _failed(error.code, error.message, error.details, took)
    return 500, _failed("INTERNAL_ERROR", "SQL request failed", None, took)


def _failed(code: str, message: str, details: str | None, took: float) -> dict[str, Any]:
    error = {"code": code, "message": message}
    if details is not None:
        error["details"] = details
    return {"status": "error", "results": [], "took": took, "error": error}
