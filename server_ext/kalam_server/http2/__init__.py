"""HTTP/2 for a Tornado `HTTPServer`, beside HTTP/1.1 on the same port.

`install` puts a switch in front of the server's own code: each accepted connection is looked at
without consuming anything. One that opens with the HTTP/2 preface (prior knowledge), or agreed on
``h2`` by ALPN under TLS, is served here; any other goes on to Tornado. ``Upgrade: h2c`` is ignored,
as the standard allows. Every HTTP/2 stream becomes one ``server.start_request`` call, so the same
application, handlers and authentication apply.

What keeps a hostile peer in bounds: flow control both ways (window is given back when a handler has
consumed the bytes; a write is done when the socket took it), at most `MAX_STREAMS` streams open and
handlers at work, header lists up to 64 KiB, budgets of resets (rapid reset) and of frames that carry
nothing, a limit on unsent bytes, and closing connections that nobody uses.

`switch` decides who speaks HTTP/2, `connection` speaks it (with the library h2), `stream` is what
Tornado's handlers write to.
"""

from kalam_server.http2.connection import CONTROL_BUDGET, MAX_STREAMS, RESET_BUDGET
from kalam_server.http2.stream import H2Stream
from kalam_server.http2.switch import PREFACE, drain, install

__all__ = ["CONTROL_BUDGET", "MAX_STREAMS", "PREFACE", "RESET_BUDGET", "H2Stream", "drain", "install"]
