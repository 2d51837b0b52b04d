"""The ``kalam`` command."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import ssl
import sys
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kalam_server import __version__

if TYPE_CHECKING:
    from kalam_jupyter.kalam import KalamConfig
    from kalam_jupyter.node import Node


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = _parser().parse_args(argv)
    code: int = arguments.run(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kalam", description="KalamDB's and ksqlDB's HTTP APIs on one embedded engine."
    )
    parser.add_argument("--version", action="version", version=f"kalam-jupyter {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_test(commands)
    return parser


def _add_test(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from kalam_jupyter.ksql.testing import command

    test = commands.add_parser("test", help="check streaming SQL against expected records")
    command.add_arguments(test)
    test.set_defaults(run=command.main)


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve both APIs on ports of their own, without Jupyter",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    place = serve.add_mutually_exclusive_group()
    place.add_argument("--data", type=Path, metavar="DIR", help="keep the data in this directory")
    place.add_argument("--memory", action="store_true", help="keep the data in memory (without --data)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on")
    serve.add_argument("--kalam-port", type=_port, default=8080, metavar="PORT", help="KalamDB's API")
    serve.add_argument("--ksql-port", type=_port, default=8088, metavar="PORT", help="ksqlDB's API")
    serve.add_argument(
        "--ksql-auth",
        choices=["token", "none"],
        default="token",
        help="ask for a token, printed at start (bearer, or Basic with any user); or for nothing "
        "(loopback only, foreign Host and Origin are refused)",
    )
    serve.add_argument(
        "--token-env", metavar="NAME", help="take the token from this environment variable, print none"
    )
    serve.add_argument(
        "--root-password-env",
        metavar="NAME",
        help="environment variable with the password of KalamDB's user root (KALAMDB_ROOT_PASSWORD is "
        "read without being named)",
    )
    serve.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="KalamDB's settings as TOML ([auth], [limits], ...); KALAMDB_... variables win over it",
    )
    serve.add_argument(
        "--development",
        action="store_true",
        help="lift KalamDB's rate limits and lengthen its timeouts, as its own test suites do",
    )
    serve.add_argument(
        "--origin", action="append", default=[], metavar="ORIGIN", help="web origin that may call; repeatable"
    )
    serve.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain (PEM): serve https")
    serve.add_argument("--tls-key", type=Path, metavar="FILE", help="private key (PEM)")
    serve.set_defaults(run=_serve)


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"not a port: {text!r}")
    return port


def _serve(arguments: argparse.Namespace) -> int:
    from kalam_jupyter.engine.errors import EngineError

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        _run(_run_server(arguments))
    except (EngineError, OSError, ValueError) as error:
        print(f"kalam serve: {error}", file=sys.stderr)
        return 1
    return 0


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on the quickest event loop there is."""
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        import uvloop

        uvloop.run(main)


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"environment variable {name} is not set")
    return value


def _tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if arguments.tls_cert is None:
        if arguments.tls_key is not None:
            raise ValueError("--tls-key needs --tls-cert")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.tls_cert, arguments.tls_key)
    return context


async def _run_server(arguments: argparse.Namespace) -> None:
    from kalam_server.context import Context
    from kalam_server.identity import Gate
    from kalam_server.listener import Listener
    from kalam_server.service import Service

    token = _from_environment(arguments.token_env) if arguments.token_env else secrets.token_urlsafe(24)
    local_tokens = (token,)
    settings = _settings(arguments)
    tls = _tls(arguments)
    scheme = "https" if tls else "http"
    open_ksql = arguments.ksql_auth == "none"
    urls: dict[str, str] = {}
    service = Service(lambda: _open_node(arguments, settings, urls["kalam"]))
    shared = Context(
        service,
        Gate(lambda: local_tokens),
        origins=(*arguments.origin, *settings.cors_allowed_origins),
        allow_credentials=settings.cors_allow_credentials,
        trusted_proxies=settings.trusted_proxy_ranges,
    )
    mounts = (
        ("kalam", replace(shared, root="kalam"), arguments.kalam_port),
        ("ksql", replace(shared, root="ksql"), arguments.ksql_port),
    )
    listeners = []
    try:
        for root, context, port in mounts:
            listener = Listener(context, open_ksql=open_ksql, tls=_tls(arguments))
            listener.listen(port, arguments.host)
            listeners.append(listener)
            host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
            urls[root] = f"{scheme}://{host}:{listener.port}"
        await service.run(lambda node: node)
        _leave_out_of_collections()
        print(f"KalamDB API  {urls['kalam']}")
        print(f"ksqlDB API   {urls['ksql']}")
        if not arguments.token_env:
            print(f"token        {token}")
        print("Ctrl+C stops.", flush=True)
        await _until_signal()
    finally:
        for listener in listeners:
            await listener.close()
        await service.close()


def _leave_out_of_collections() -> None:
    """Have the garbage collector pass over what is there by now.

    That stays until the end, and is a hundred thousand objects: statements would now and then have to wait
    50 ms while they are looked through once more.
    """
    gc.freeze()


def _settings(arguments: argparse.Namespace) -> KalamConfig:
    from kalam_jupyter.kalam import KalamConfig
    from kalam_jupyter.kalam.settings import load

    base = KalamConfig.development() if arguments.development else KalamConfig()
    found = load(arguments.config, os.environ, base)
    name = arguments.root_password_env
    return replace(found, root_password=_from_environment(name)) if name else found


def _open_node(arguments: argparse.Namespace, settings: KalamConfig, url: str) -> Node:
    from kalam_jupyter.node import Node

    return Node.open(arguments.data, url=url, kalam=replace(settings, base_url=url))


async def _until_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
