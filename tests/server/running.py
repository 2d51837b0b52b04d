"""Our server on a port of its own, in a thread: for tests that speak real HTTP from outside."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass

from kalam_jupyter.kalam import KalamConfig
from kalam_jupyter.node import Node
from kalam_server.context import Context
from kalam_server.identity import Gate
from kalam_server.listener import Listener
from kalam_server.service import Service

TOKEN = "test-token"
ROOT_PASSWORD = "RootPass123!"
JWT_SECRET = "not a secret, long enough for HS256"
#: The profile of the reference's own suites: limits lifted, hashing cheap.
CONFIG = KalamConfig(
    bcrypt_cost=4,
    root_password=ROOT_PASSWORD,
    jwt_secret=JWT_SECRET,
    max_queries_per_sec=0,
    max_auth_requests_per_ip_per_sec=0,
    max_messages_per_sec=0,
)


@dataclass
class Running:
    """A server that runs.

    Attributes
    ----------
    port : int
    service : Service
    loop : asyncio loop of its thread
    listener : Listener
    """

    port: int
    service: Service
    loop: asyncio.AbstractEventLoop
    listener: Listener

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def node(self):
        return self.service.node()


@contextmanager
def running(root="ksql", *, open_ksql=False, config=CONFIG, tls=None, ksql=None, workers=32):
    """Run a server until the block ends."""
    started, stop = threading.Event(), None
    found = []

    async def serve():
        nonlocal stop
        stop = asyncio.Event()
        service = Service(lambda: Node.open(kalam=config, ksql=ksql or {}), workers=workers)
        context = Context(
            service,
            Gate(lambda: (TOKEN,)),
            root=root,
            origins=config.cors_allowed_origins,
            allow_credentials=config.cors_allow_credentials,
            trusted_proxies=config.trusted_proxy_ranges,
        )
        listener = Listener(context, open_ksql=open_ksql, tls=tls)
        listener.listen(0)
        found.append(Running(listener.port, service, asyncio.get_running_loop(), listener))
        started.set()
        await stop.wait()
        await listener.close()
        await service.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(20)
    try:
        yield found[0]
    finally:
        found[0].loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()
