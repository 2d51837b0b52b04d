"""What planning a query results in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kalam_jupyter.engine.types import Schema
from kalam_jupyter.ksql.analysis.scope import NamedItem
from kalam_jupyter.ksql.formats.base import SerdeFormat
from kalam_jupyter.ksql.metastore import Source, WindowInfo
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.aggregation import AggregationPlan


@dataclass(frozen=True)
class QueryPlan:
    """The steps of one query, without a sink, and what they result in.

    Attributes
    ----------
    root : ProjectStep
    schema : Schema
        Result columns: the key columns first for a persistent query, all in SELECT order for a transient one.
    is_table : bool
    window : WindowInfo or None
        How the result's keys are windowed.
    sources : tuple of Source
    key_format, value_format : SerdeFormat
        What a sink inherits.
    without_key : bool
        Whether the query took the key away: PARTITION BY NULL.
    key_items : mapping of int to int
        Transient queries: positions in the result of key columns, and their position in the record's key.
    bound_items : mapping of int to int
        Transient queries: positions in the result of WINDOWSTART (0) and WINDOWEND (1).
    aggregation : AggregationPlan or None
    items : tuple of NamedItem
        The result columns, qualified and named.
    """

    root: steps.ProjectStep
    schema: Schema
    is_table: bool
    window: WindowInfo | None
    sources: tuple[Source, ...]
    key_format: SerdeFormat
    value_format: SerdeFormat
    without_key: bool = False
    key_items: Mapping[int, int] = field(default_factory=dict)
    bound_items: Mapping[int, int] = field(default_factory=dict)
    aggregation: AggregationPlan | None = None
    items: tuple[NamedItem, ...] = ()
