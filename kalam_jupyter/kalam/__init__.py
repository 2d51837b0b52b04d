"""The KalamDB dialect: SQL, users, live queries and topics on the embedded engine. See ARCHITECTURE.md."""

from kalam_jupyter.kalam.auth import Auth, AuthError, Session
from kalam_jupyter.kalam.bearer import LoginResult, UserInfo
from kalam_jupyter.kalam.config import KalamConfig
from kalam_jupyter.kalam.database import Kalam
from kalam_jupyter.kalam.errors import KalamError
from kalam_jupyter.kalam.live_message import LiveChange
from kalam_jupyter.kalam.live_opening import LiveOptions
from kalam_jupyter.kalam.live_query import LiveQuery
from kalam_jupyter.kalam.result import Result, ResultColumn
from kalam_jupyter.kalam.stopping import Stop

__all__ = [
    "Auth",
    "AuthError",
    "Kalam",
    "KalamConfig",
    "KalamError",
    "LiveChange",
    "LiveOptions",
    "LiveQuery",
    "LoginResult",
    "Result",
    "ResultColumn",
    "Session",
    "Stop",
    "UserInfo",
]
