"""The Jupyter Server extension: both APIs under the server's own address, sharing its identities."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.utils import url_path_join
from traitlets import Bool, Dict, Enum, Int, List, TraitError, Unicode, validate

from kalam_server import __version__
from kalam_server.context import Context
from kalam_server.identity import Gate
from kalam_server.limits import Limits
from kalam_server.service import Service

if TYPE_CHECKING:
    from kalam_jupyter.kalam import KalamConfig
    from kalam_jupyter.node import Node
    from kalam_server.listener import Listener

#: What a kernel reads to find this server; see `kalam_jupyter.client.connect`.
URL_VARIABLE, TOKEN_VARIABLE = "KALAM_JUPYTER_URL", "KALAM_JUPYTER_TOKEN"


class KalamExtension(ExtensionApp):
    """KalamDB's and ksqlDB's HTTP APIs on this Jupyter Server, backed by one embedded engine."""

    name = "kalam"
    version = __version__
    description = "Streaming SQL: KalamDB's and ksqlDB's HTTP APIs on one embedded engine"
    load_other_extensions = True
    extension_url = "/info"

    prefix = Unicode(
        "",
        config=True,
        help="Path below the server's base_url where both APIs are mounted, for example 'kalam'. "
        "Empty: exactly as published (/ksql, /query, /v1/...).",
    )
    data_dir = Unicode(
        "",
        config=True,
        help="Directory that keeps the engine's data. Empty: in memory, gone when the server stops. "
        "Relative paths start at the server's root directory.",
    )
    kalam_port = Int(
        0,
        config=True,
        help="Loopback port that serves KalamDB's API at its root, for clients that know no prefix "
        "(8080 is KalamDB's). 0: none.",
    )
    ksql_port = Int(
        0,
        config=True,
        help="Loopback port that serves ksqlDB's API at its root, HTTP/1.1 and HTTP/2 (8088 is "
        "ksqlDB's). 0: none.",
    )
    host = Unicode("127.0.0.1", config=True, help="Address of the two dedicated ports.")
    ksql_auth = Enum(
        ["token", "none"],
        "token",
        config=True,
        help="Who may use ksqlDB's API on the dedicated ports. 'token': who shows a Jupyter or KalamDB "
        "token, or the token as Basic password. 'none': whoever reaches the port (loopback only; "
        "foreign Host and Origin headers are still refused).",
    )
    local_user = Unicode(
        "root",
        config=True,
        help="KalamDB user that this server's own users and kernels act as.",
    )
    local_user_role = Enum(
        ["user", "service", "dba", "system"],
        "dba",
        config=True,
        help="Role that local_user gets when it does not exist yet.",
    )
    kernel_access = Bool(
        True,
        config=True,
        help="Whether kernels inherit the server's address and a credential for these two APIs (never "
        f"the server's token), in {URL_VARIABLE} and {TOKEN_VARIABLE}.",
    )
    origins = List(
        Unicode(),
        config=True,
        help="Origins of web pages that may use the dedicated ports; '*' for any. Under the server's "
        "own address ServerApp.allow_origin decides.",
    )
    ksql = Dict(config=True, help="ksqlDB server properties, for example {'ksql.service.id': 'lab_'}.")
    kalam = Dict(
        config=True,
        help="KalamDB settings by their names in KalamConfig, for example {'default_query_limit': 100}. "
        "KALAMDB_ variables of the environment win over them: KALAMDB_ROOT_PASSWORD, ...",
    )
    workers = Int(32, config=True, help="Threads that run statements. Waiting push queries use none.")

    _service: Service | None = None
    _settings: KalamConfig
    _listeners: list[Listener]
    _environ: dict[str, str]

    @validate("kalam")
    def _known(self, proposal: Any) -> dict[str, Any]:
        from kalam_jupyter.kalam import KalamConfig

        given: dict[str, Any] = proposal["value"]
        known = sorted(field.name for field in fields(KalamConfig))
        if unknown := sorted(set(given) - set(known)):
            raise TraitError(
                f"KalamExtension.kalam: unknown setting '{unknown[0]}'. Known: {', '.join(known)}"
            )
        return given

    def initialize_settings(self) -> None:
        """Make the service; the engine is opened by the first request that needs it."""
        from kalam_jupyter.kalam import KalamConfig
        from kalam_jupyter.kalam.settings import load

        self._settings = load(None, os.environ, KalamConfig(**self.kalam))
        self._listeners, self._environ = [], {}
        self._kernel_token = secrets.token_urlsafe(32)
        self._service = Service(self._open_node, workers=self.workers)
        self._limits = Limits()
        self.settings.update({"kalam_service": self._service})

    def initialize_handlers(self) -> None:
        """Mount the routes below base_url."""
        from kalam_server.jupyter import routes
        from kalam_server.panel import PANEL_ROUTES
        from kalam_server.routes import KALAM_ROUTES, KALAM_UNKNOWN, KSQL_ROOT, KSQL_ROUTES

        base_url = self.settings["base_url"]
        root = url_path_join(base_url, self.prefix, "/")
        entries = KALAM_ROUTES + KSQL_ROUTES + (KSQL_ROOT if self.prefix.strip("/") else []) + KALAM_UNKNOWN
        # ExtensionApp puts base_url in front of each pattern.
        table = routes(entries, self._context(base_url=root), self.prefix)
        self.handlers.extend(table)
        self.handlers.extend(routes(PANEL_ROUTES, self._context(base_url=root), ""))

    def _context(self, **changes: Any) -> Context:
        assert self._service is not None
        return Context(
            service=self._service,
            gate=Gate(self._secrets),
            local_user=self.local_user,
            local_user_role=self.local_user_role,
            limits=self._limits,
            trusted_proxies=tuple(self._settings.trusted_proxy_ranges),
            **changes,
        )

    def _secrets(self) -> Iterator[str]:
        assert self.serverapp is not None
        yield self._kernel_token
        token = self.serverapp.identity_provider.token
        if token:
            yield token

    @property
    def url(self) -> str:
        """Where the APIs are, without credentials."""
        assert self.serverapp is not None
        return url_path_join(self.serverapp.connection_url, self.prefix, "/")

    def _data_path(self) -> Path | None:
        if not self.data_dir:
            return None
        assert self.serverapp is not None
        return Path(self.serverapp.root_dir).joinpath(Path(self.data_dir).expanduser())

    def _open_node(self) -> Node:
        from kalam_jupyter.node import Node

        base_url = self.kalam.get("base_url", self.url.rstrip("/"))
        config = replace(self._settings, base_url=base_url)
        return Node.open(self._data_path(), url=self.url, ksql=self.ksql, kalam=config)

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        """Tell kernels where we are, and listen on the dedicated ports."""
        if self.kernel_access:
            self._export(URL_VARIABLE, self.url)
            self._export(TOKEN_VARIABLE, self._kernel_token)
        for root, port in (("kalam", self.kalam_port), ("ksql", self.ksql_port)):
            if port:
                from kalam_server.listener import Listener

                context = self._context(
                    root=root,
                    origins=(*self.origins, *self._settings.cors_allowed_origins),
                    allow_credentials=self._settings.cors_allow_credentials,
                )
                listener = Listener(context, open_ksql=self.ksql_auth == "none")
                listener.listen(port, self.host)
                self._listeners.append(listener)
                self.log.info("kalam: %s API at http://%s:%d/", root, self.host, listener.port)

    def _export(self, name: str, value: str) -> None:
        os.environ[name] = value
        self._environ[name] = value

    async def stop_extension(self) -> None:
        """Stop listening, end open streams, close the engine."""
        for name, value in self._environ.items():
            if os.environ.get(name) == value:
                del os.environ[name]
        for listener in self._listeners:
            await listener.close()
        if self._service is not None:
            await self._service.close()


main = KalamExtension.launch_instance
