"""Binds handlers to Jupyter Server: its identities, its XSRF and origin rules, our own bearer tokens.

Jupyter reads ``Authorization: Bearer x`` as its own token and takes a KalamDB token, or Basic, for
nobody. So a request that shows such an explicit credential is handed to Jupyter as identified
already (host check and CORS headers still happen); whether the credential is any good is decided
by our own routes, which answer in their API's error format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import User
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from kalam_server.context import Context
from kalam_server.identity import LOCAL, Caller, stranger
from kalam_server.route import Entry, Route, bind, start


class JupyterBase(Route, JupyterHandler):
    """Binds a handler to Jupyter Server."""

    def identify(self) -> Caller | None:
        """As `Route.identify`; a bearer token that is no JWT may still be Jupyter's (a Hub's, say)."""
        caller = super().identify()
        if caller is not None and caller.kind == "kalam" and (caller.token or "").count(".") != 2:
            return None
        return caller

    async def prepare(self) -> None:  # type: ignore[override]
        """Find out who is calling: our own credentials first, then Jupyter's."""
        explicit = self.identify()
        if explicit is not None:
            self.current_user = self._jupyter_current_user = User(username=f"kalam-{explicit.kind}")
            self._token_authenticated = True
        await super().prepare()
        if explicit is not None:
            self.caller = self.located(explicit)
        elif self.current_user is not None:
            if not self.token_authenticated and not self.origin_rule():
                raise web.HTTPError(403, "Origin not allowed")
            self.caller = self.located(LOCAL)
        else:
            self.caller = stranger(self.request.headers)
        await start(self)

    def check_xsrf_cookie(self) -> None:
        """Check only where a cookie gives the right to call: nobody's rights cannot be abused."""
        if getattr(self, "_jupyter_current_user", None) is not None:
            super().check_xsrf_cookie()

    def origin_rule(self) -> bool:
        """Whether the page that the request comes from may call: Jupyter's rule, for WebSockets too."""
        return bool(JupyterHandler.check_origin(self))

    def options(self, *args: str) -> None:
        """Answer a preflight; whether the origin may call is in the headers Jupyter has set."""
        self.set_header("Access-Control-Allow-Headers", "accept, content-type, authorization, x-xsrftoken")
        self.set_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
        self.set_status(204)
        self.finish()

    @property
    def content_security_policy(self) -> str:
        """Nothing in these answers is a page."""
        return f"{super().content_security_policy}; default-src 'none'"

    def on_finish(self) -> None:
        """Count the request as activity, so that an idle-culler lets a server in use live."""
        if self.caller.kind == "local":
            from jupyter_server._tz import utcnow

            self.settings["api_last_activity"] = utcnow()
        super().on_finish()


def routes(entries: Sequence[Entry], context: Context, prefix: str = "") -> list[Any]:
    """Return the route table of `entries` below `prefix`, relative to the server's base_url."""
    mount = re.escape("/" + prefix.strip("/")).rstrip("/")
    table = bind(entries, JupyterBase, context, mount)
    for _, handler, _ in table:
        for name in map(str.lower, handler.SUPPORTED_METHODS):
            # Our routes decide for themselves (Route.public); Jupyter would redirect to a page.
            setattr(handler, name, _undecorated(getattr(handler, name)))
    return table


def _undecorated(method: Callable[..., Any]) -> Callable[..., Any]:
    marked: Callable[..., Any] = allow_unauthenticated(method)
    return marked
