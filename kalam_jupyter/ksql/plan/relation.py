"""What FROM gives: a source, or a join of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kalam_jupyter.ksql.analysis.layout import source_layout
from kalam_jupyter.ksql.analysis.scope import AliasedSource
from kalam_jupyter.ksql.formats.base import SerdeFormat
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import WindowInfo
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.projection import KeyPart, ResultKey

WINDOWED_REPARTITION = (
    "Implicit repartitioning of windowed sources is not supported. "
    "See https://github.com/confluentinc/ksql/issues/4385."
)


@dataclass(frozen=True)
class Relation:
    """A step, its key, and what the planner must know about it.

    Attributes
    ----------
    aliases : tuple of str
        The sources in it, left to right.
    partitions : int
        Of the topic it reads, or of all of them: those of a join have equally many.
    single : AliasedSource or None
        Set while it is one source and not a join.
    candidates : tuple of Expression
        Columns that the key may be called after, and by which it is joined again as it is. (As in the
        reference those of an outer join's other side are among them, though NULL where it found nothing.)
    synthetic : str or None
        The name of a key column that a join made up.
    """

    step: steps.Step
    key: ResultKey
    window: WindowInfo | None
    key_format: SerdeFormat
    aliases: tuple[str, ...]
    partitions: int
    single: AliasedSource | None = None
    candidates: tuple[ast.Expression, ...] = ()
    synthetic: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.aliases[0]


def source_relation(
    aliased: AliasedSource,
    partitions: Callable[[str], int],
    *,
    joined: bool = False,
    materialize: bool = False,
) -> Relation:
    """Return a source as a relation.

    Parameters
    ----------
    partitions : callable
        From a topic's name to its number of partitions.
    joined : bool
        Whether it becomes part of a join, where columns are known as ``alias_name``.
    materialize : bool
        Whether the rows of a table are kept, so that changes know what they replace.
    """
    source = aliased.source
    layout = source_layout(source)
    step = steps.SourceStep(
        layout=layout.prefixed(aliased.alias) if joined else layout,
        key=source.schema.key,
        table=not source.is_stream,
        source=source,
        alias=aliased.alias,
        materialize=materialize,
    )
    parts = tuple(KeyPart((ast.ColumnRef(c.name, aliased.alias),), c.type) for c in source.schema.key)
    only = parts[0].alternatives if len(parts) == 1 else ()
    return Relation(
        step,
        ResultKey(parts, "key column", _bare_name, _bare_name),
        source.window,
        source.key_format,
        (aliased.alias,),
        partitions(source.topic),
        single=aliased,
        candidates=only,
    )


def _bare_name(e: ast.Expression) -> str:
    """Return a column's name without its source."""
    return e.name if isinstance(e, ast.ColumnRef) else str(e)
