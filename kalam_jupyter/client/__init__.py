"""One `Connection` over several transports: in process, HTTP and WebSocket.

```python
connection = connect()                       # finds the engine: see `connect`
connection.ksql("LIST STREAMS;")             # -> list of Result
connection.kalam("SELECT * FROM app.users WHERE id = $1", [7])
stream = connection.push("SELECT * FROM orders EMIT CHANGES;")
for changes in stream: ...                   # Arrow batches with the kind of each change
```
"""

from kalam_jupyter.client.async_connection import AsyncConnection, AsyncStream, connect_async
from kalam_jupyter.client.connection import Connection
from kalam_jupyter.client.discovery import connect
from kalam_jupyter.client.errors import ClientError, ConnectionLostError
from kalam_jupyter.client.messages import Message
from kalam_jupyter.client.replay import Replay
from kalam_jupyter.client.result import Result
from kalam_jupyter.client.session import Session
from kalam_jupyter.client.stream import DELETE, INSERT, KIND_NAMES, UPDATE, Changes, Stream

__all__ = [
    "DELETE",
    "INSERT",
    "KIND_NAMES",
    "UPDATE",
    "AsyncConnection",
    "AsyncStream",
    "Changes",
    "ClientError",
    "Connection",
    "ConnectionLostError",
    "Message",
    "Replay",
    "Result",
    "Session",
    "Stream",
    "connect",
    "connect_async",
]
