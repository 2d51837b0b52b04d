"""Finding the engine: named, by the environment, beside the kernel, or in this process."""

from __future__ import annotations

import os
import re
import threading
from typing import Any
from urllib.parse import urlsplit

from kalam_jupyter.client.connection import Connection
from kalam_jupyter.client.errors import ClientError
from kalam_jupyter.client.login import OWNER, Login

_HOST_AND_PORT = re.compile(r"[\w.-]+:\d+")
_embedded_lock = threading.Lock()
_embedded: dict[str | None, Any] = {}


def connect(
    target: str | None = None,
    *,
    token: str | None = None,
    user: str | None = None,
    password: str | None = None,
    dialect: str | None = None,
    namespace: str = "default",
    **config: Any,
) -> Connection:
    """Connect to an engine.

    Parameters
    ----------
    target : str, optional
        ``http://..`` or ``https://..``: our server, or a ksqlDB or KalamDB cluster.
        ``:memory:`` or ``embedded``: the engine of this process, in memory.
        ``embedded:DIR``: an engine of this process that keeps its data in a directory; if another
        process has it open, that process's server.
        Without it, the first of these that is there: environment variable ``KALAM_JUPYTER_URL``
        (set by the server extension) or ``KALAM_URL``; the Jupyter Server that started this
        kernel, if our extension runs in it; the engine of this process.
    token : str, optional
        Jupyter token, or KalamDB access token.
    user, password : str, optional
        For a server that asks for them. On an embedded engine: the KalamDB user that statements and live
        queries act as, its superuser ``root`` without them.
    dialect : {"ksql", "kalam"}, optional
        Which API a foreign server speaks; found out by asking it otherwise.
    namespace : str
        KalamDB namespace of unqualified names.
    **config
        Settings of an embedded engine (see `Node.open`).

    Raises
    ------
    ClientError
        If the server cannot be reached or refuses the credential.
    """
    if target is None:
        return _find(token, user, password, dialect, namespace, config)
    login = Login(user, password, token)
    if target in ("embedded", ":memory:"):
        return embedded(login=login, namespace=namespace, **config)
    if target.startswith("embedded:"):
        return embedded(target.removeprefix("embedded:"), login=login, namespace=namespace, **config)
    if urlsplit(target).scheme in ("http", "https"):
        return _remote(target, token, user, password, dialect, namespace)
    known = f"http://{target}" if _HOST_AND_PORT.fullmatch(target) else "http://.."
    raise ClientError(
        f"cannot connect to '{target}': give a URL ({known}), ':memory:', or 'embedded:DIRECTORY'"
    )


def embedded(
    path: str | None = None, *, login: Login = OWNER, namespace: str = "default", **config: Any
) -> Connection:
    """Connect to the engine of this process at `path` (None: in memory), opening it at first use.

    All connections of one process to one path share one engine.

    Raises
    ------
    ClientError
        If the engine is held by a process without a server, or refuses the login.
    """
    from kalam_jupyter.client.inprocess import InProcessTransport
    from kalam_jupyter.engine.errors import EngineLockedError
    from kalam_jupyter.node import Node

    key = None if path is None else os.path.realpath(path)
    with _embedded_lock:
        shared = _embedded.get(key)
        if shared is None or shared.closed:
            try:
                shared = _embedded[key] = Node.open(path, **config)
            except EngineLockedError as error:
                if error.url is None:
                    raise ClientError(str(error), code="LOCKED") from error
                token = login.token or (None if login.user else _token_of(error.url))
                return _remote(error.url, token, login.user, login.password, None, namespace)
            except OSError as error:
                raise ClientError(f"cannot open embedded:{path}: {error.strerror or error}") from error
    return Connection(InProcessTransport(shared, login), namespace=namespace)


def _token_of(url: str) -> str | None:
    """Token of a server of this user whose address another process left in the lock file."""
    from jupyter_server.serverapp import list_running_servers

    for server in list_running_servers():
        if url.startswith(server["url"]):
            return str(server["token"])
    return os.environ.get("KALAM_TOKEN")


def _find(
    token: str | None,
    user: str | None,
    password: str | None,
    dialect: str | None,
    namespace: str,
    config: dict[str, Any],
) -> Connection:
    environ = os.environ
    if url := environ.get("KALAM_JUPYTER_URL"):
        token = token or environ.get("KALAM_JUPYTER_TOKEN")
        return _remote(url, token, user, password, dialect, namespace)
    if url := environ.get("KALAM_URL"):
        token = token or environ.get("KALAM_TOKEN")
        user = user or environ.get("KALAM_USER")
        password = password or environ.get("KALAM_PASSWORD")
        return _remote(url, token, user, password, dialect, namespace)
    if found := _parent_server():
        return _remote(found[0], token or found[1], user, password, dialect, namespace)
    return embedded(login=Login(user, password, token), namespace=namespace, **config)


def _parent_server() -> tuple[str, str] | None:
    """URL and token of the Jupyter Server that started this kernel, when our extension answers there."""
    parent = os.environ.get("JPY_PARENT_PID", "")
    if not parent.isdigit():
        return None
    from jupyter_server.serverapp import list_running_servers

    from kalam_jupyter.client.http import is_ours

    for server in list_running_servers():
        if server["pid"] == int(parent) and is_ours(server["url"], server["token"]):
            return server["url"], server["token"]
    return None


def _remote(
    url: str,
    token: str | None,
    user: str | None,
    password: str | None,
    dialect: str | None,
    namespace: str,
) -> Connection:
    from kalam_jupyter.client.http import HttpTransport

    transport = HttpTransport.open(url, token=token, user=user, password=password, dialect=dialect)
    return Connection(transport, namespace=namespace)
