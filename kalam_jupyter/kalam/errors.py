"""Errors of the KalamDB dialect, and the one place that turns them into code, status and public text.

A statement raises a `StatementError` of one kind; kinds carry the prefix their message is shown with and say
whether ordinary users may read the text. `failure` makes a `KalamError` of it: what a client is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kalam_jupyter.engine.errors import AlreadyExistsError, EngineError, NotFoundError

ADMIN_ROLES = ("dba", "system")


@dataclass(frozen=True)
class Kind:
    """A class of statement errors.

    Attributes
    ----------
    prefix : str
        Shown before the text (``Already exists: ...``); may be empty.
    code : str
        Error code of the SQL envelope.
    status : int
        HTTP status.
    public : bool
        Whether roles below dba see the text; otherwise the code's public text replaces it.
    """

    prefix: str
    code: str = "SQL_EXECUTION_ERROR"
    status: int = 400
    public: bool = True


KINDS: dict[str, Kind] = {
    "invalid_sql": Kind("Invalid SQL", "INVALID_SQL"),
    "not_found": Kind("Not found", public=False),
    "table_not_found": Kind("Table not found", public=False),
    "namespace_not_found": Kind("Namespace not found"),
    "already_exists": Kind("Already exists"),
    "invalid_operation": Kind("Invalid operation"),
    "constraint": Kind("Constraint violation"),
    "conflict": Kind("Conflict"),
    "permission_denied": Kind("Permission denied", "PERMISSION_DENIED", 403),
    "unauthorized": Kind("Unauthorized", "PERMISSION_DENIED", 403),
    "execution": Kind("Execution error", public=False),
    "plain": Kind("", public=False),
    "parameter": Kind(""),
    "timeout": Kind(""),
    "internal": Kind("", "INTERNAL_ERROR", 500, public=False),
}

PUBLIC_TEXT = {
    "BATCH_PARSE_ERROR": "Failed to parse SQL batch",
    "SQL_EXECUTION_ERROR": "SQL statement failed",
    "INVALID_SQL": "SQL statement is invalid or not allowed",
    "TABLE_NOT_FOUND": "Requested table is not available",
    "INTERNAL_ERROR": "SQL request failed",
}


class TakesLongError(Exception):
    """What was to be done at once has to wait, or takes long: nothing has happened."""


class KalamError(Exception):
    """What a client is told: the one error type that leaves this package.

    Attributes
    ----------
    code : str
        ``SQL_EXECUTION_ERROR``, ``PERMISSION_DENIED``, ``INVALID_SQL``, ...
    message : str
        Already redacted for the role that ran the statement.
    status : int
        HTTP status of the answer.
    details : str or None
        SQL text of the failing statement (admins only).
    line, column : int or None
        Position in the SQL text, 1-based, where the error has one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        details: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        self.code, self.message, self.status, self.details = code, message, status, details
        self.line, self.column = line, column
        super().__init__(message)


class StatementError(Exception):
    """A statement failed. `kind` is a key of `KINDS`."""

    def __init__(self, kind: str, text: str, position: tuple[int, int] | None = None) -> None:
        self.kind, self.text, self.position = kind, text, position
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """Prefix and text."""
        prefix = KINDS[self.kind].prefix
        return f"{prefix}: {self.text}" if prefix else self.text


class SqlSyntaxError(StatementError):
    """The text is not a statement of this dialect. `position` is (line, column), 1-based."""

    def __init__(self, text: str, position: tuple[int, int] | None = None) -> None:
        where = f" at Line: {position[0]}, Column: {position[1]}" if position else ""
        super().__init__("invalid_sql", text + where, position)


class GateError(StatementError):
    """A role gate refused the statement before anything ran: its text is shown bare."""

    def __init__(self, text: str) -> None:
        super().__init__("permission_denied", text)

    @property
    def message(self) -> str:
        return self.text


def redact(code: str, message: str, role: str, *, public: bool) -> str:
    """Return the text that `role` may read."""
    if public or role in ADMIN_ROLES:
        return message
    return PUBLIC_TEXT.get(code, message)


def failure(
    error: StatementError, role: str, *, number: int | None = None, sql: str | None = None
) -> KalamError:
    """Turn a statement's error into what the client of `role` is told.

    Parameters
    ----------
    number : int or None
        1-based number of the statement; None when the error arose before anything ran.
    sql : str or None
        Text of the failing statement: the `details` that admins get.
    """
    kind = KINDS[error.kind]
    code, status, public = kind.code, kind.status, kind.public
    if isinstance(error, SqlSyntaxError) and number is None:
        public = False
    message = error.message
    if number is not None:
        message = f"Statement {number} failed: {message}"
    line, column = error.position or (None, None)
    shown = redact(code, message, role, public=public)
    details = sql if number is not None and role in ADMIN_ROLES else None
    return KalamError(code, shown, status, details, line, column)


# The query engine's errors are sorted by their lower-cased text, first hit wins (HTTP section 5.7).
_ENGINE_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"table not found|table '.*' not found"), "table_not_found"),
    (
        re.compile(
            r"access denied|permission denied|unauthorized|not authorized|forbidden|insufficient privileges"
        ),
        "permission_denied",
    ),
    (re.compile(r"(?:column|field)\b.*not found|no field named"), "invalid_operation"),
    (re.compile(r"primary key|constraint violation|already exists|duplicate"), "already_exists"),
)


def classify(text: str) -> StatementError:
    """Sort an error text of the query engine into its kind."""
    text = text.removeprefix("DataFusion error: ")
    lower = text.lower()
    for pattern, kind in _ENGINE_TEXTS:
        if pattern.search(lower):
            return StatementError(kind, text)
    return StatementError("execution", text)


def from_engine(error: EngineError) -> StatementError:
    """Translate an error of the storage engine."""
    if isinstance(error, NotFoundError):
        return StatementError("not_found", str(error))
    if isinstance(error, AlreadyExistsError):
        return StatementError("already_exists", str(error))
    return StatementError("execution", str(error))
