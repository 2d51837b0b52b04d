"""Storages, flush, compact, backup, restore, export."""

from __future__ import annotations

from typing import Any

from kalam_jupyter.kalam.statements import nodes

HANDLERS: dict[type[nodes.Statement], Any] = {}
