"""JupyterLab's Streams panel looks into the notebook's own engine through one comm.

The panel finds the comm by its target name (``comm_info_request``), so nothing is sent to front ends
without the panel. It asks once to watch; then this side sends what changed, from a thread of its own:
figures keep moving while a cell runs, and no request makes the kernel look busy.

::

    panel -> kernel  {type: "watch", value: bool}   {type: "peek", id, topic}   {type: "stop", id, query}
    kernel -> panel  {type: "overview", target, overview | null}   {type: "reply", id, result | error}
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from kalam_jupyter.overview import overview, peek, stop_query

if TYPE_CHECKING:
    from kalam_jupyter.client.connections import Connections
    from kalam_jupyter.node import Node

TARGET = "kalam-jupyter.panel"
#: Seconds between two looks at the engine.
INTERVAL = 1.0
#: Seconds after which a panel that renews nothing is taken for closed; it renews every minute.
LEASE = 180.0


class PanelChannel:
    """Answers Streams panels about the engine of the notebook's current connection.

    Parameters
    ----------
    connections : Connections
    comm : comm.base_comm.BaseComm
        Registered with the kernel under `TARGET`.
    """

    def __init__(self, connections: Connections, comm: Any) -> None:
        self._connections = connections
        self._comm = comm
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._until = 0.0
        self._again = threading.Event()
        self._closed = False
        comm.on_msg(self._on_message)

    def close(self) -> None:
        """Stop watching; the comm is closed."""
        self._closed = True
        self._again.set()
        self._comm.close()

    def _on_message(self, message: dict[str, Any]) -> None:
        data = message["content"]["data"]
        if data.get("type") == "watch":
            self._watch(bool(data.get("value")))
        elif data.get("type") in ("peek", "stop"):
            self._comm.send({"type": "reply", "id": data.get("id"), **self._answer(data)})

    def _watch(self, value: bool) -> None:
        with self._lock:
            self._until = time.monotonic() + LEASE if value else 0.0
            self._again.set()
            if value and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kalam-panel", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        """Send what there is whenever it changed, or a panel asked anew."""
        sent: dict[str, Any] | None = None
        while True:
            with self._lock:
                if self._closed or time.monotonic() > self._until:
                    self._thread = None
                    return
                if self._again.is_set():
                    sent = None
                    self._again.clear()
            shown = self._shown()
            if shown != sent:
                sent = shown
                self._comm.send(shown)
            self._again.wait(INTERVAL)

    def _node(self) -> tuple[str | None, Node | None]:
        connection = self._connections.opened
        return (None, None) if connection is None else (connection.target, connection.node)

    def _shown(self) -> dict[str, Any]:
        target, node = self._node()
        found = None
        if node is not None:
            with contextlib.suppress(*_refusals()):  # it is being closed, or changed under the look
                found = overview(node)
        return {"type": "overview", "target": target, "overview": found}

    def _answer(self, data: dict[str, Any]) -> dict[str, Any]:
        _, node = self._node()
        if node is None:
            return {"error": "The notebook has no engine of its own."}
        try:
            if data["type"] == "peek":
                return {"result": peek(node, str(data.get("topic")))}
            query = str(data.get("query"))
            if not stop_query(node, query):
                return {"error": f"No query with id {query}"}
            return {"result": {"stopped": query}}
        except _refusals() as error:
            return {"error": str(error)}


def _refusals() -> tuple[type[Exception], ...]:
    """Return what an engine says no with; imported late, because ``%load_ext`` should cost nothing."""
    from kalam_jupyter.engine.errors import EngineError
    from kalam_jupyter.kalam.errors import KalamError
    from kalam_jupyter.ksql.errors import KsqlError

    return EngineError, KsqlError, KalamError


def open_channel(connections: Connections) -> PanelChannel | None:
    """Make the kernel's channel known under `TARGET`; None outside a kernel."""
    import comm

    made = comm.create_comm(target_name=TARGET, primary=False)
    if type(made).__module__.startswith("comm."):  # no kernel has put its own class in place
        return None
    comm.get_comm_manager().register_comm(made)
    return PanelChannel(connections, made)
