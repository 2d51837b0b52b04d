"""EXPORT USER DATA."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kalam_jupyter.kalam.database import Kalam


class Exports:
    """The exports of one `Kalam`."""

    def __init__(self, kalam: Kalam) -> None:
        self._kalam = kalam
