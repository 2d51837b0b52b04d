"""Streaming SQL inside Jupyter.

In a notebook: ``%load_ext kalam_jupyter``, then ``%%ksql`` and ``%%kalam``. In Python: `connect`, `frame`.
Importing this package imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from kalam_jupyter.client import Connection, connect
    from kalam_jupyter.ksql.functions.python import udaf, udf, udtf

__version__ = "0.1.0"
__all__ = [
    "Connection",
    "connect",
    "frame",
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
    from kalam_jupyter.magics.connections import connections

    return connections.current.frame(name)


def load_ipython_extension(shell: Any) -> None:
    """Called by ``%load_ext kalam_jupyter``."""
    from kalam_jupyter.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Called by ``%unload_ext kalam_jupyter``."""
    from kalam_jupyter.magics import unload

    unload(shell)


def __getattr__(name: str) -> Any:
    if name in ("Connection", "connect"):
        from kalam_jupyter import client

        return getattr(client, name)
    if name in ("udaf", "udf", "udtf"):
        from kalam_jupyter.ksql.functions import python

        return getattr(python, name)
    raise AttributeError(f"module 'kalam_jupyter' has no attribute '{name}'")
