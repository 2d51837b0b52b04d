"""The one exception a client raises, whatever dialect and transport it came from."""

from __future__ import annotations


class ClientError(Exception):
    """A request that was refused or could not be carried out; nothing was changed by it.

    Attributes
    ----------
    message : str
        What went wrong, in the API's own words.
    code : str
        The API's code: ``40001`` (ksqlDB), ``SQL_EXECUTION_ERROR`` (KalamDB), or ``CONNECTION``,
        ``CLOSED``, ``UNSUPPORTED`` for the client's own.
    line, column : int or None
        Position in the submitted text, both from 1, where the API gave one.
    statement : str or None
        The failing statement.
    status : int or None
        HTTP status of the answer, or the one it would have had.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "CLIENT",
        line: int | None = None,
        column: int | None = None,
        statement: str | None = None,
        status: int | None = None,
    ) -> None:
        self.message, self.code = message, code
        self.line, self.column = line, column
        self.statement, self.status = statement, status
        super().__init__(message)

    def _render_traceback_(self) -> list[str]:
        """IPython asks for this: in a notebook the message is enough, our frames help nobody."""
        return [f"{type(self).__name__} [{self.code}]: {self.message}"]


class ConnectionLostError(ClientError):
    """The server cannot be reached, or went away."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="CONNECTION")
