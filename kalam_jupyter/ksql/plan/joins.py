"""Planning of FROM with joins: which kind, which keys, what is not allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kalam_jupyter.engine.types import Column, DataType
from kalam_jupyter.ksql.analysis.layout import Layout, named, source_layout
from kalam_jupyter.ksql.analysis.scope import AliasedSource, Scope
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.expressions.bound import Bound
from kalam_jupyter.ksql.formats import check_key_types
from kalam_jupyter.ksql.formats.base import SerdeFormat
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import PSEUDO_COLUMNS, ROWTIME, WindowInfo
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.projection import KeyPart, ResultKey

if TYPE_CHECKING:
    from kalam_jupyter.ksql.plan.planner import QueryPlanner

_WORDS = {"INNER": "[INNER]", "LEFT": "LEFT [OUTER]", "RIGHT": "RIGHT [OUTER]", "FULL": "[FULL] OUTER"}
_REPARTITION = (
    "Implicit repartitioning of windowed sources is not supported. "
    "See https://github.com/confluentinc/ksql/issues/4385."
)
_ONE_SOURCE = "Each side of the join comparision must contain references from exactly one source."


@dataclass(frozen=True)
class JoinedRelation:
    """What FROM gives: a step, its key, and what the planner must know about it.

    Attributes
    ----------
    aliases : tuple of str
        The sources in it, left to right.
    single : AliasedSource or None
        Set while it is one source and not a join.
    candidates : tuple of Expression
        Columns that the key may be called after.
    repartitioned : bool
        Whether it had to be re-keyed on the way.
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


class JoinPlanner:
    """Plans the joins of one query."""

    def __init__(self, planner: QueryPlanner, scope: Scope, query: ast.Query) -> None:
        self._planner = planner
        self._scope = scope
        self._query = query

    def plan(self) -> JoinedRelation:
        """Return the joined relation; StatementError if the joins make no sense."""
        self._check_sources()
        assert isinstance(self._query.relation, ast.Join)
        return self._plan(self._query.relation)

    def _check_sources(self) -> None:
        sources = self._scope.sources
        seen: dict[str, AliasedSource] = {}
        for s in sources:
            if s.source.name in seen:
                if len(sources) > 2:
                    raise KsqlError(
                        "N-way joins do not support multiple occurrences of the same source. "
                        f"Source: '{s.source.name}'"
                    )
                raise StatementError(
                    f"Can not join '{s.source.name}' to '{s.source.name}': self joins are not yet supported."
                )
            seen[s.source.name] = s
        kafka = [s.alias for s in sources if s.source.value_format.info.name == "KAFKA"]
        if kafka:
            raise StatementError(
                f"Source(s) {', '.join(kafka)} are using the 'KAFKA' value format. "
                "This format does not yet support JOIN."
            )

    def _plan(self, relation: ast.Relation) -> JoinedRelation:
        if isinstance(relation, ast.SourceRef):
            return self._source(relation)
        left = self._plan(relation.left)
        right = self._source(relation.right)
        return _JoinPlanning(self._planner, self._scope, relation, left, right).plan()

    def _source(self, ref: ast.SourceRef) -> JoinedRelation:
        aliased = self._scope.by_alias(ref.label)
        assert aliased is not None
        source = aliased.source
        step = steps.SourceStep(
            layout=source_layout(source).prefixed(aliased.alias),
            key=source.schema.key,
            table=not source.is_stream,
            source=source,
            alias=aliased.alias,
        )
        parts = tuple(KeyPart((ast.ColumnRef(c.name, aliased.alias),), c.type) for c in source.schema.key)
        return JoinedRelation(
            step,
            ResultKey(parts, "key column"),
            source.window,
            source.key_format,
            (aliased.alias,),
            self._planner.partitions(source.topic),
            single=aliased,
            candidates=tuple(p.alternatives[0] for p in parts) if len(parts) == 1 else (),
        )


class _JoinPlanning:
    """The planning of one join."""

    def __init__(
        self,
        planner: QueryPlanner,
        scope: Scope,
        join: ast.Join,
        left: JoinedRelation,
        right: JoinedRelation,
    ) -> None:
        self._planner = planner
        self._scope = scope
        self._join = join
        self._left, self._right = left, right

    def plan(self) -> JoinedRelation:
        left, right = self._left, self._right
        left_e, right_e = self._criteria()
        self._check_order()
        left_key = self._bind(left, left_e)
        right_key = self._bind(right, right_e)
        if left_key.type != right_key.type:
            raise StatementError(
                f"Invalid join condition: types don't match. Got {left_e}{{{left_key.type}}} = "
                f"{right_e}{{{right_key.type}}}."
            )
        assert left_key.type is not None
        foreign = False
        if left.step.table and right.step.table:
            foreign = self._table_keys(left_e, right_e)
        elif right.step.table and not self._is_key(right, right_e):
            raise StatementError(
                "Invalid join condition: stream-table joins require to join on the table's primary key. "
                f"Got {left_e} = {right_e}."
            )
        if foreign:
            return self._foreign(left_e, right_e, left_key)
        self._check_windows()
        left_moves = not left.step.table and not self._is_key(left, left_e)
        right_moves = not right.step.table and not self._is_key(right, right_e)
        self._check_moves(left_moves, right_moves)
        key, synthetic, candidates = self._result_key(left_e, right_e, left_key.type)
        column = Column(synthetic or self._key_name(candidates), left_key.type, key=True)
        self._check_key_type(left_e, left_key.type)
        left_step = self._rekeyed(left.step, left_e, left_key) if left_moves else left.step
        right_step = self._rekeyed(right.step, right_e, right_key) if right_moves else right.step
        step = self._step(left_step, right_step, (column,), synthetic)
        key_format = right.key_format if left_moves and not right_moves else left.key_format
        return JoinedRelation(
            step,
            key,
            left.window,
            key_format,
            (*left.aliases, *right.aliases),
            left.partitions,
            candidates=candidates,
            synthetic=synthetic,
        )

    # Criteria

    def _criteria(self) -> tuple[ast.Expression, ast.Expression]:
        """Return the criterion's sides, the left relation's first, qualified."""
        criteria = self._scope.qualify(self._join.criteria, "JOIN ON")
        if isinstance(criteria, ast.Logical):
            raise StatementError(
                f"Invalid join condition: joins on multiple conditions are not yet supported. Got {criteria}."
            )
        if not isinstance(criteria, ast.Comparison) or criteria.op != "=":
            raise StatementError(f"Invalid join condition: only equality is supported. Got {criteria}.")
        sides = (criteria.left, criteria.right)
        owners = []
        for side in sides:
            found = {n.qualifier for n in ast.walk(side) if isinstance(n, ast.ColumnRef)}
            if len(found) != 1:
                raise StatementError(
                    f"Invalid comparison expression '{side}' in join '{criteria}'. {_ONE_SOURCE}"
                )
            owners.append(found.pop())
        new = self._right.name
        if owners[0] == owners[1]:
            raise KsqlError(
                "Each side of the join must reference exactly one source and not the same source. "
                f"Left side references `{owners[0]}` and right references `{owners[1]}`"
            )
        if new not in owners:
            raise KsqlError(
                f"A join criteria is expected to reference the source (`{new}`) in the FROM clause, "
                "instead the right "
                f"source references `{owners[1]}` and the left source references `{owners[0]}`"
            )
        other = owners[0] if owners[1] == new else owners[1]
        if other not in self._left.aliases:
            raise KsqlError(
                f"A join criteria is expected to reference the source (`{new}`) in the FROM clause, "
                "instead the right "
                f"source references `{owners[1]}` and the left source references `{owners[0]}`"
            )
        return sides if owners[1] == new else (sides[1], sides[0])

    def _bind(self, side: JoinedRelation, e: ast.Expression) -> Bound:
        return self._planner.binder(side.step.layout).bind(self._scope.internal(e))

    def _is_key(self, side: JoinedRelation, e: ast.Expression) -> bool:
        parts = side.key.parts
        return len(parts) == 1 and (e in parts[0].alternatives or e in side.candidates)

    def _check_order(self) -> None:
        left, right, join = self._left.step, self._right.step, self._join
        if left.table and not right.table:
            raise KsqlError(
                "Invalid join order: table-stream joins are not supported; only stream-table joins. "
                f"Got {self._shown()}."
            )
        if not left.table and right.table and join.kind in ("RIGHT", "FULL"):
            word = "full-outer" if join.kind == "FULL" else "right-outer"
            raise StatementError(
                f"Invalid join type: {word} join not supported for stream-table join. Got {self._shown()}."
            )
        streams = not left.table and not right.table
        if streams and join.within is None:
            raise StatementError(
                f"{self._left.name} {_WORDS[join.kind]} JOIN {self._right.name} must have a WITHIN clause "
                "specified. "
                "None was provided."
            )
        if not streams and join.within is not None:
            kind = "table-table" if left.table else "stream-table"
            raise StatementError(
                f"A window definition was provided for a {kind.replace('-', '-')} join. These joins are "
                "not windowed."
            )

    def _shown(self) -> str:
        """The join as messages show it, sources by their names."""
        left = self._scope.by_alias(
            self._left.aliases[-1] if len(self._left.aliases) == 1 else self._left.name
        )
        right = self._scope.by_alias(self._right.name)
        assert left is not None and right is not None
        return f"{left.source.name} {_WORDS[self._join.kind]} JOIN {right.source.name}"

    def _table_keys(self, left_e: ast.Expression, right_e: ast.Expression) -> bool:
        """Judge a table-table join; return whether it is by foreign key."""
        left, right = self._left, self._right
        if not self._is_key(right, right_e):
            criteria = self._scope.qualify(self._join.criteria, "JOIN ON")
            raise StatementError(
                "Invalid join condition: table-table joins require to join on the primary key of the right "
                "input "
                f"table. Got {_bare(str(criteria))}."
            )
        if self._is_key(left, left_e):
            return False
        if left.single is None:
            raise StatementError(
                "Invalid join condition: foreign-key table-table joins are not supported as part of n-way "
                "joins. "
                f"Got {left_e} = {right_e}."
            )
        if self._join.kind in ("RIGHT", "FULL"):
            word = "RIGHT OUTER" if self._join.kind == "RIGHT" else "FULL OUTER"
            raise StatementError(f"Invalid join type: {word} JOIN on a foreign key is not supported.")
        if left.window is not None or right.window is not None:
            raise StatementError("Foreign-key table-table joins are not supported on windowed tables.")
        return True

    def _check_windows(self) -> None:
        left, right = self._left, self._right
        if (left.window is None) != (right.window is None):
            lines = [
                f"`{side.name}` is {'not' if side.window is None else side.window.type} windowed"
                for side in (left, right)
            ]
            raise StatementError("Can not join windowed source to non-windowed source.\n" + "\n".join(lines))
        if left.window is None or right.window is None:
            return
        if (left.window.type == "SESSION") != (right.window.type == "SESSION"):
            raise StatementError(
                f"Incompatible windowed sources.\nLeft source: {left.window.type}\nRight source: "
                f"{right.window.type}\n"
                "Session windowed sources can only be joined to other session windowed sources, and may "
                "still not "
                "result in expected behaviour as session bounds must be an exact match for the join to work\n"
                "Hopping and tumbling windowed sources can only be joined to other hopping and tumbling "
                "windowed sources"
            )

    def _check_moves(self, left_moves: bool, right_moves: bool) -> None:
        left, right = self._left, self._right
        if left.window is not None and right.window is not None:
            registry = left.key_format.info.format.uses_registry
            differs = left.window != right.window and not registry
            if left_moves or right_moves or differs or left.key_format.info != right.key_format.info:
                raise StatementError(_REPARTITION)
        if left.partitions != right.partitions:
            raise StatementError(
                f"Can't join `{left.name}` with `{right.name}` since the number of partitions don't match. "
                f"`{left.name}` partitions = {left.partitions}; `{right.name}` partitions = "
                f"{right.partitions}. "
                "Please repartition either one so that the number of partitions match."
            )

    # Result

    def _result_key(
        self, left_e: ast.Expression, right_e: ast.Expression, type_: DataType
    ) -> tuple[ResultKey, str | None, tuple[ast.Expression, ...]]:
        candidates: tuple[ast.Expression, ...] = ()
        if self._join.kind != "FULL":
            known = self._left.candidates if left_e in self._left.candidates else ()
            found = dict.fromkeys((*known, *(e for e in (left_e, right_e) if isinstance(e, ast.ColumnRef))))
            candidates = tuple(found)
        if candidates:
            parts = (KeyPart(candidates, type_),)
            key = ResultKey(parts, "join expression", name_of=lambda e: str(self._scope.internal(e)))
            return key, None, candidates
        synthetic = self._synthetic_name()
        part = KeyPart((ast.ColumnRef(synthetic),), type_, synthetic=True)
        return ResultKey((part,), "join expression"), synthetic, ()

    def _synthetic_name(self) -> str:
        taken = {c.name for s in self._scope.sources for c in s.source.schema}
        name, n = "ROWKEY", 0
        while name in taken:
            n += 1
            name = f"ROWKEY_{n}"
        return name

    def _key_name(self, candidates: tuple[ast.Expression, ...]) -> str:
        internal = self._scope.internal(candidates[0])
        return internal.name if isinstance(internal, ast.ColumnRef) else str(internal)

    def _check_key_type(self, e: ast.Expression, type_: DataType) -> None:
        internal = self._scope.internal(e)
        check_key_types([Column(str(internal), type_, key=True)])

    def _rekeyed(self, step: steps.Step, e: ast.Expression, key: Bound) -> steps.Step:
        internal = self._scope.internal(e)
        assert key.type is not None
        return steps.JoinKeyStep(
            layout=step.layout,
            key=(Column(str(internal), key.type, key=True),),
            table=False,
            input=step,
            expression=key,
            text=str(internal),
        )

    def _step(
        self, left: steps.Step, right: steps.Step, key: tuple[Column, ...], synthetic: str | None
    ) -> steps.JoinStep:
        join = self._join
        kind: steps.JoinType = "STREAM_STREAM"
        if right.table:
            kind = "TABLE_TABLE" if left.table else "STREAM_TABLE"
        within = join.within
        return steps.JoinStep(
            layout=joined_layout(left.layout, right.layout, key),
            key=key,
            table=left.table,
            left=left,
            right=right,
            join_type=kind,
            kind=join.kind,
            before_ms=0 if within is None else within.before.ms,
            after_ms=0 if within is None else within.after.ms,
            grace_ms=None if within is None or within.grace is None else within.grace.ms,
            sessions=self._left.window is not None and self._left.window.type == "SESSION",
        )

    def _foreign(self, left_e: ast.Expression, right_e: ast.Expression, left_key: Bound) -> JoinedRelation:
        left, right = self._left, self._right
        assert left.single is not None
        key_columns = left.step.key
        step = steps.JoinStep(
            layout=joined_layout(left.step.layout, right.step.layout, key_columns),
            key=key_columns,
            table=True,
            left=left.step,
            right=right.step,
            join_type="FOREIGN_KEY",
            kind=self._join.kind,
            foreign_key=left_key,
        )
        key = replace(
            left.key,
            text=_column_name,
            foreign_key_source=left.single.alias,
        )
        return JoinedRelation(
            step,
            key,
            None,
            left.key_format,
            (*left.aliases, *right.aliases),
            left.partitions,
            candidates=left.candidates,
        )


def joined_layout(left: Layout, right: Layout, key: tuple[Column, ...]) -> Layout:
    """Return the joined flat row: left, right, key, the result's timestamp."""
    return Layout((*left.columns, *right.columns, *named(key), (ROWTIME, PSEUDO_COLUMNS[0].type)))


def _column_name(e: ast.Expression) -> str:
    return e.name if isinstance(e, ast.ColumnRef) else str(e)


def _bare(criteria: str) -> str:
    return criteria[1:-1] if criteria.startswith("(") and criteria.endswith(")") else criteria
