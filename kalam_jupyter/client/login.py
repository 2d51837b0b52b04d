"""Who a connection is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Login:
    """A credential, as somebody typed it; empty for whoever owns the process.

    Attributes
    ----------
    user, password : str or None
    token : str or None
        KalamDB access token.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


#: Whoever owns the process.
OWNER = Login()
