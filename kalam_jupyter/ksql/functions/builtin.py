"""All libraries of built-in functions."""

from __future__ import annotations

from kalam_jupyter.ksql.functions import (
    aggregates_basic,
    aggregates_collect,
    aggregates_offset,
    aggregates_rank,
    aggregates_stats,
    bytes_,
    collections_,
    datetime_,
    json_,
    lambdas,
    nulls,
    numeric,
    regexes,
    strings,
    table,
    url,
)
from kalam_jupyter.ksql.functions.registry import Library

LIBRARIES: tuple[Library, ...] = tuple(
    module.functions
    for module in (
        numeric,
        strings,
        regexes,
        bytes_,
        json_,
        collections_,
        datetime_,
        lambdas,
        url,
        nulls,
        aggregates_basic,
        aggregates_collect,
        aggregates_offset,
        aggregates_rank,
        aggregates_stats,
        table,
    )
)
