"""``GET /v1/openapi.json``: an OpenAPI 3.1 document made from the route tables.

Paths, methods, path parameters and what is public come from the routes and their handlers; the rest of
an operation stands in ``kalam_handlers/schemas.py`` and ``ksql_handlers/schemas.py``, by handler.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from tornado import web

from kalam_server import __version__
from kalam_server.kalam_handlers.base import KalamRoute
from kalam_server.route import Route

#: An OpenAPI operation, or a part of one, as it stands in the document.
Fragment = dict[str, Any]
_ALTERNATIVES = re.compile(r"\(\?:([^()]*)\)(\??)")
_GROUP = re.compile(r"\([^()?]*\)")
SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of /v1/api/auth/login, or the server's own token.",
    },
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The server's own token as password, with any user name.",
    },
    "auth_cookie": {"type": "apiKey", "in": "cookie", "name": "kalamdb_auth"},
    "refresh_cookie": {"type": "apiKey", "in": "cookie", "name": "kalamdb_refresh"},
}


class OpenApiHandler(KalamRoute):
    """``GET /v1/openapi.json``; open to everybody: it says nothing that is not published."""

    public = frozenset({"GET"})

    async def begin(self) -> None:
        """No guard: a description must not open the engine."""

    def get(self) -> None:
        """Describe both APIs."""
        self.send_json({**document(), "servers": [{"url": self.context.base_url}]})

    def envelope(self, error: BaseException) -> tuple[int, Any]:
        """See `KalamRoute.envelope`."""
        return 500, "Internal server error"


def methods(handler: type[Route]) -> list[str]:
    """Return the methods a handler has, but OPTIONS, which is CORS."""
    return [
        name
        for name in map(str.lower, handler.SUPPORTED_METHODS)
        if getattr(handler, name) is not getattr(web.RequestHandler, name) and name != "options"
    ]


def templates(pattern: str, names: list[str]) -> Iterator[str]:
    """Return the path templates a route's pattern stands for.

    Parameters
    ----------
    names : list of str
        What the pattern's groups are called, in order.
    """
    if found := _ALTERNATIVES.search(pattern):
        for choice in [*found[1].split("|"), *([""] if found[2] else [])]:
            yield from templates(pattern[: found.start()] + choice + pattern[found.end() :], names)
        return
    given = iter(names)
    path = _GROUP.sub(lambda _: f"{{{next(given)}}}", pattern.removesuffix("/?"))
    yield path.replace("\\.", ".")


def parameter_names(handler: type[Route], method: str) -> list[str]:
    """Return what a handler calls the parts of its path."""
    _, *parameters = inspect.signature(getattr(handler, method)).parameters.values()
    return [p.name.removesuffix("_") for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


@cache
def document() -> Fragment:
    """Return the document, but for where it is served."""
    from kalam_server.kalam_handlers.schemas import OPERATIONS as KALAM
    from kalam_server.kalam_handlers.schemas import SCHEMAS as KALAM_SCHEMAS
    from kalam_server.ksql_handlers.schemas import OPERATIONS as KSQL
    from kalam_server.ksql_handlers.schemas import SCHEMAS as KSQL_SCHEMAS
    from kalam_server.ksql_handlers.schemas import SUB_ROUTES
    from kalam_server.routes import KALAM_ROUTES, KSQL_ROOT, KSQL_ROUTES

    paths: dict[str, Fragment] = {}
    apis = (("KalamDB", KALAM_ROUTES, KALAM), ("ksqlDB", KSQL_ROUTES + KSQL_ROOT, KSQL))
    for tag, entries, operations in apis:
        for entry in entries:
            if entry.handler in SUB_ROUTES:
                paths |= _sub_paths(entry.handler, SUB_ROUTES[entry.handler])
                continue
            for method in methods(entry.handler):
                names = parameter_names(entry.handler, method)
                for path in templates(entry.pattern, names):
                    described = operations[entry.handler][method]
                    paths.setdefault(path, {})[method] = _operation(
                        tag, entry.handler, method, path, names, described
                    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kalam-jupyter",
            "version": __version__,
            "summary": "KalamDB's and ksqlDB's HTTP APIs on one embedded engine.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": KALAM_SCHEMAS | KSQL_SCHEMAS, "securitySchemes": SECURITY_SCHEMES},
    }


def _sub_paths(handler: type[Route], described: Mapping[str, Mapping[str, Fragment]]) -> dict[str, Fragment]:
    return {
        path: {
            method: _operation(
                "Schema Registry", handler, method, path, re.findall(r"\{(\w+)\}", path), operation
            )
            for method, operation in operations.items()
        }
        for path, operations in described.items()
    }


def _operation(
    tag: str, handler: type[Route], method: str, path: str, names: list[str], described: Fragment
) -> Fragment:
    """Return a complete operation: what the route knows, and what is described."""
    words = re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_") or "root"
    open_to_all = method.upper() in handler.public
    security: list[Any] = (
        [] if open_to_all else [{"bearer": []}, *([{"basic": []}] if tag != "KalamDB" else [])]
    )
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in names
    ]
    return {
        "operationId": f"{method}_{words}",
        "tags": [tag],
        "security": security,
        **described,
        "parameters": in_path + described.get("parameters", []),
    }
