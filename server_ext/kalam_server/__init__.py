"""The Jupyter Server extension, the dedicated listeners, and `kalam serve`."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from kalam_server.app import KalamExtension

    return [{"module": "kalam_server", "app": KalamExtension}]
