"""Layouts: which column is where in the flat row, and under which name the planner knows it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from kalam_jupyter.engine.types import Column, DataType
from kalam_jupyter.ksql.expressions.bound import ColumnValue
from kalam_jupyter.ksql.metastore import PSEUDO_COLUMNS, WINDOW_BOUNDS, Source


@dataclass(frozen=True)
class Layout:
    """Names and types of the flat row's positions. Where a name occurs twice the first one is meant."""

    columns: tuple[tuple[str, DataType], ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each name."""
        return {name: i for i, (name, _) in reversed(list(enumerate(self.columns)))}

    def find(self, name: str) -> ColumnValue | None:
        """Return the column called `name`."""
        position = self.index.get(name)
        return (
            None
            if position is None
            else ColumnValue(type=self.columns[position][1], index=position, name=name)
        )

    def __len__(self) -> int:
        return len(self.columns)

    def prefixed(self, alias: str) -> Layout:
        """Return the layout with every name prefixed by ``alias_``, as in joins."""
        return Layout(tuple((f"{alias}_{name}", type_) for name, type_ in self.columns))

    def without_names(self, names: Container[str | None]) -> Layout:
        """Return the layout with some positions that no name stands for."""
        return Layout(tuple(("" if name in names else name, type_) for name, type_ in self.columns))

    def plus(self, columns: Iterable[tuple[str, DataType]]) -> Layout:
        """Return the layout with more columns behind."""
        return Layout((*self.columns, *columns))


def named(columns: Sequence[Column]) -> tuple[tuple[str, DataType], ...]:
    """Return names and types of columns."""
    return tuple((c.name, c.type) for c in columns)


def source_layout(source: Source) -> Layout:
    """Return the flat row of a source: stored values, header columns, key, pseudo columns, window bounds."""
    stored = [c for c in source.schema.value if c.name not in source.header_names]
    headers = [source.schema.column(name) for name, _ in source.headers]
    columns = (*named(stored), *named(headers), *named(source.schema.key), *named(PSEUDO_COLUMNS))
    if source.window is not None:
        columns = (*columns, *named(WINDOW_BOUNDS))
    return Layout(columns)
