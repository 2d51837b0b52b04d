"""The notebook's connections, by name. The first one is made when something needs it."""

from __future__ import annotations

import threading

from kalam_jupyter.client.connection import Connection
from kalam_jupyter.client.discovery import connect
from kalam_jupyter.client.errors import ClientError

DEFAULT = "default"


class UnknownConnectionError(ClientError):
    """There is no connection of this name.

    Attributes
    ----------
    name : str
    known : list of str
    """

    def __init__(self, name: str, known: list[str]) -> None:
        self.name, self.known = name, known
        super().__init__(f"There is no connection '{name}'.")


class Connections:
    """Named connections, one of them current.

    Attributes
    ----------
    name : str
        The current one's.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, Connection] = {}
        self._lock = threading.Lock()
        self.name = DEFAULT

    @property
    def current(self) -> Connection:
        """The current connection; found by `kalam_jupyter.client.connect` the first time."""
        return self.get(self.name)

    @property
    def opened(self) -> Connection | None:
        """The current connection, None as long as nothing needed it."""
        with self._lock:
            return self._by_name.get(self.name)

    def get(self, name: str | None = None) -> Connection:
        """Return a connection by name; without one, the current.

        Raises
        ------
        UnknownConnectionError
            If there is no such connection.
        """
        name = name or self.name
        with self._lock:
            if name == DEFAULT and name not in self._by_name:
                self._by_name[name] = connect()
            if name not in self._by_name:
                raise UnknownConnectionError(name, list(self._by_name))
            return self._by_name[name]

    def add(self, name: str, connection: Connection) -> None:
        """Keep a connection and make it current; one of the same name is closed."""
        with self._lock:
            old = self._by_name.get(name)
            self._by_name[name] = connection
            self.name = name
        if old is not None:
            old.close()

    def use(self, name: str) -> None:
        """Make a connection current.

        Raises
        ------
        UnknownConnectionError
            If there is no such connection.
        """
        self.get(name)
        self.name = name

    def items(self) -> list[tuple[str, Connection]]:
        """Return names and connections, in the order they were made."""
        with self._lock:
            return list(self._by_name.items())

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            closing, self._by_name, self.name = list(self._by_name.values()), {}, DEFAULT
        for connection in closing:
            connection.close()


#: The ones of this kernel.
connections = Connections()
