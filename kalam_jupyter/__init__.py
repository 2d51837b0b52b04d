"""Streaming SQL inside Jupyter.

In a notebook: ``%load_ext kalam_jupyter``, then ``%%ksql`` and ``%%kalam``. In Python: `connect`, `frame`.
Importing this package imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from kalam_jupyter.client import AsyncConnection, Connection, Replay, connect, connect_async
    from kalam_jupyter.ksql.functions.python import udaf, udf, udtf

__version__ = "0.1.0"
__all__ = [
    "AsyncConnection",
    "Connection",
    "connect",
    "connect_async",
    "frame",
    "generate",
    "load_ipython_extension",
    "udaf",
    "udf",
    "udtf",
    "unload_ipython_extension",
]


def frame(name: str) -> pd.DataFrame:
    """Return the rows of a ksqlDB stream or table, or of a KalamDB ``namespace.table``, as a DataFrame.

    Raises
    ------
    ClientError
        If the notebook's current connection knows no such source.
    """
    from kalam_jupyter.client.connections import connections

    return connections.current.frame(name)


def generate(
    name: str,
    rows: int = 1_000,
    *,
    seed: int = 0,
    rate: float | None = None,
    stream: str | None = None,
    connection: Connection | None = None,
) -> pd.DataFrame | Replay:
    """Return seeded example rows as a DataFrame, or send them to a ksqlDB stream.

    Parameters
    ----------
    name : {"orders", "pageviews", "users", "sensors", "ratings"}
    rows : int
    seed : int
        The same seed gives the same rows.
    rate : float, optional
        Rows a second: they are sent to `stream` in the background, with their event times.
    stream : str, optional
        Stream to send them to, at once without a `rate`; with a `rate` it is `name` by default.
    connection : Connection, optional
        The notebook's current one by default.

    Returns
    -------
    DataFrame, or Replay when they are sent

    Raises
    ------
    ValueError
        For an unknown generator.
    ClientError
        If the rows do not fit a stream that is there.
    """
    from kalam_jupyter.generators import GENERATORS, TIME, make_frame

    made = make_frame(name, rows, seed)
    if rate is None and stream is None:
        return made
    if connection is None:
        from kalam_jupyter.client.connections import connections

        connection = connections.current
    key = GENERATORS[name][1]
    return connection.stream_frame(made, stream or name, key=key, timestamp=TIME, rate=rate)


def load_ipython_extension(shell: Any) -> None:
    """Called by ``%load_ext kalam_jupyter``."""
    from kalam_jupyter.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Called by ``%unload_ext kalam_jupyter``."""
    from kalam_jupyter.magics import unload

    unload(shell)


def __getattr__(name: str) -> Any:
    if name in ("AsyncConnection", "Connection", "connect", "connect_async"):
        from kalam_jupyter import client

        return getattr(client, name)
    if name in ("udaf", "udf", "udtf"):
        from kalam_jupyter.ksql.functions import python

        return getattr(python, name)
    raise AttributeError(f"module 'kalam_jupyter' has no attribute '{name}'")
