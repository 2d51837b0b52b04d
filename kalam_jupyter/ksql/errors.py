"""Errors of the ksqlDB dialect.

One hierarchy, three kinds, as the wire format knows them: a plain `KsqlError` is a refusal that is not
tied to one statement, a `StatementError` is about one statement, a `ParseError` says that its text is not
one. Handlers turn them into JSON; magics point at `line` and `column`. What is raised without saying so
while a statement is worked on is about that statement (`about_statement`); a `RequestError` is not.
"""

from __future__ import annotations

from collections.abc import Sequence

BAD_REQUEST = 40000
BAD_STATEMENT = 40001


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names as a sentence lists them: ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


class KsqlError(Exception):
    """A request that ksqlDB refuses.

    Parameters
    ----------
    message : str
        What a user reads.
    error_code : int, optional
        The API's five-digit code; its first three digits are the HTTP status.
    http_status : int, optional
        Only where it is not ``error_code // 100``.
    statement_text : str, optional
        The failing statement alone, as submitted.
    line, column : int, optional
        Position in the submitted text, both from 1.
    detail : str, optional
        A longer message that may quote data, for the caller only and never for logs.
    """

    default_code = BAD_REQUEST

    def __init__(
        self,
        message: str,
        *,
        error_code: int | None = None,
        http_status: int | None = None,
        statement_text: str | None = None,
        line: int | None = None,
        column: int | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = self.default_code if error_code is None else error_code
        self.http_status = self.error_code // 100 if http_status is None else http_status
        self.statement_text = statement_text
        self.line = line
        self.column = column
        self.detail = detail

    @property
    def full_message(self) -> str:
        """The message (or its longer `detail`) followed by the statement, where there is one."""
        text = self.message if self.detail is None else self.detail
        if self.statement_text is None:
            return text
        return f"{text}\nStatement: {self.statement_text}"


class StatementError(KsqlError):
    """A statement that cannot be prepared, planned or executed."""

    default_code = BAD_STATEMENT


class NotAQueryError(StatementError):
    """A statement that is neither SELECT nor PRINT, where one of these has to be.

    Attributes
    ----------
    kind : str
        Which kind of statement it is.
    """

    def __init__(self, kind: str) -> None:
        super().__init__("Neither a query nor a print statement")
        self.kind = kind


class UnknownTopicError(StatementError):
    """PRINT of a topic that does not exist."""

    def __init__(self, message: str, *, topic: str) -> None:
        super().__init__(message)
        self.topic = topic


class RequestError(KsqlError):
    """A refusal that is not about the statement in which it came up: a limit, or a target of rows."""


class ParseError(StatementError):
    """Text that is not a statement.

    Attributes
    ----------
    token : str or None
        The offending text.
    expected : tuple of str
        What could have stood there, where the parser can tell.
    """

    def __init__(
        self,
        message: str,
        *,
        token: str | None = None,
        expected: tuple[str, ...] = (),
        statement_text: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message, statement_text=statement_text, line=line, column=column)
        self.token = token
        self.expected = expected


def about_statement(error: KsqlError, text: str) -> KsqlError:
    """Return the error to raise for `error`, which came up while the statement `text` was worked on."""
    if not isinstance(error, StatementError | RequestError):
        code = BAD_STATEMENT if error.error_code == BAD_REQUEST else error.error_code
        error = StatementError(
            error.message,
            error_code=code,
            http_status=error.http_status,
            statement_text=error.statement_text,
            line=error.line,
            column=error.column,
            detail=error.detail,
        )
    if error.statement_text is None:
        error.statement_text = text
    return error
