"""HTTP/1.1 for a Tornado `HTTPServer`, at a third of the cost of Tornado's own.

A connection is an asyncio transport with the parser that Node.js uses (llhttp, by ``httptools``) in front
of the application: every request becomes one ``server.start_request`` call, as with `http2`, so handlers
notice nothing. What was parsed waits in a queue until the request before it is answered and the handler
wants it; while much is waiting, nothing is read. A request that somebody upgrades (`detach`) takes its
socket along as a Tornado stream.

An `Express` may answer a request itself, before the application sees it: see `kalam_handlers.express`. The
head of such a request is parsed and judged once: clients repeat theirs (`Repeated`).

`acceptor` takes connections, `connection` speaks HTTP/1.1 on one, `request` is what was read, `exchange`
what Tornado's handlers write to.
"""

from kalam_server.http1.acceptor import Installed, install

__all__ = ["Installed", "install"]
