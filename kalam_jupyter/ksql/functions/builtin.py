"""All libraries of built-in functions."""

from __future__ import annotations

from kalam_jupyter.ksql.functions import aggregates_basic, numeric
from kalam_jupyter.ksql.functions.registry import Library

LIBRARIES: tuple[Library, ...] = (numeric.functions, aggregates_basic.functions)
