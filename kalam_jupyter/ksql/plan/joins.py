"""Planning of FROM with joins: which kind, which keys, what is not allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kalam_jupyter.engine.types import Column, DataType
from kalam_jupyter.ksql.analysis.layout import Layout, named
from kalam_jupyter.ksql.analysis.scope import AliasedSource, Scope
from kalam_jupyter.ksql.errors import KsqlError, StatementError
from kalam_jupyter.ksql.expressions.bound import Bound
from kalam_jupyter.ksql.formats import check_key_types
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.metastore import PSEUDO_COLUMNS, ROWTIME
from kalam_jupyter.ksql.plan import steps
from kalam_jupyter.ksql.plan.projection import KeyPart, ResultKey
from kalam_jupyter.ksql.plan.relation import WINDOWED_REPARTITION, Relation, source_relation

if TYPE_CHECKING:
    from kalam_jupyter.ksql.plan.planner import QueryPlanner

_WORDS = {"INNER": "[INNER]", "LEFT": "LEFT [OUTER]", "RIGHT": "RIGHT [OUTER]", "FULL": "[FULL] OUTER"}
_ONE_SOURCE = "Each side of the join comparision must contain references from exactly one source."


class JoinPlanner:
    """Plans the joins of one query."""

    def __init__(self, planner: QueryPlanner, scope: Scope, query: ast.Query) -> None:
        self._planner = planner
        self._scope = scope
        self._query = query

    def plan(self) -> Relation:
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
        self._check_names()
        kafka = [s.alias for s in sources if s.source.value_format.info.name == "KAFKA"]
        if kafka:
            raise StatementError(
                f"Source(s) {', '.join(kafka)} are using the 'KAFKA' value format. "
                "This format does not yet support JOIN."
            )

    def _check_names(self) -> None:
        """Refuse columns that a join would call the same, as B_C of A and C of A_B."""
        seen: dict[str, str] = {}
        for s in self._scope.sources:
            for column in s.source.schema:
                name, shown = f"{s.alias}_{column.name}", f"{s.alias}.{column.name}"
                if seen.setdefault(name, shown) != shown:
                    raise StatementError(
                        f"Duplicate value columns found in schema: `{name}` {column.type}. The join has that "
                        f"name for {seen[name]} and for {shown}: give a source another alias."
                    )

    def _plan(self, relation: ast.Relation) -> Relation:
        if isinstance(relation, ast.SourceRef):
            return self._source(relation)
        left = self._plan(relation.left)
        right = self._source(relation.right)
        return _JoinPlanning(self._planner, self._scope, relation, left, right).plan()

    def _source(self, ref: ast.SourceRef) -> Relation:
        aliased = self._scope.by_alias(ref.label)
        assert aliased is not None
        return source_relation(aliased, self._planner.partitions, joined=True)


class _JoinPlanning:
    """The planning of one join."""

    def __init__(
        self,
        planner: QueryPlanner,
        scope: Scope,
        join: ast.Join,
        left: Relation,
        right: Relation,
    ) -> None:
        self._planner = planner
        self._scope = scope
        self._join = join
        self._left, self._right = left, right

    def plan(self) -> Relation:
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
        elif right.step.table and right_e not in right.candidates:
            raise StatementError(
                "Invalid join condition: stream-table joins require to join on the table's primary key. "
                f"Got {left_e} = {right_e}."
            )
        if foreign:
            return self._foreign(left_e, right_e, left_key)
        self._check_windows()
        left_moves = not left.step.table and left_e not in left.candidates
        right_moves = not right.step.table and right_e not in right.candidates
        self._check_moves(left_moves, right_moves)
        key, synthetic, candidates = self._result_key(left_e, right_e, left_key.type)
        column = Column(synthetic or self._key_name(candidates), left_key.type, key=True)
        self._check_key_type(left_e, left_key.type)
        left_step = self._rekeyed(left.step, left_e, left_key) if left_moves else left.step
        right_step = self._rekeyed(right.step, right_e, right_key) if right_moves else right.step
        step = self._step(left_step, right_step, (column,), synthetic)
        key_format = right.key_format if left_moves and not right_moves else left.key_format
        return Relation(
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
        other = owners[0] if owners[1] == new else owners[1]
        if new not in owners or other not in self._left.aliases:
            raise KsqlError(
                f"A join criteria is expected to reference the source (`{new}`) in the FROM clause, instead "
                f"the right source references `{owners[1]}` and the left source references `{owners[0]}`"
            )
        return sides if owners[1] == new else (sides[1], sides[0])

    def _bind(self, side: Relation, e: ast.Expression) -> Bound:
        return self._planner.binder(side.step.layout).bind(self._scope.internal(e))

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
                "specified. None was provided."
            )
        if not streams and join.within is not None:
            kind = "table-table" if left.table else "stream-table"
            raise StatementError(
                f"A window definition was provided for a {kind} join. These joins are not windowed."
            )

    def _shown(self) -> str:
        """The join as messages show it, sources by their names."""
        left, right = self._scope.by_alias(self._left.name), self._scope.by_alias(self._right.name)
        assert left is not None and right is not None
        return f"{left.source.name} {_WORDS[self._join.kind]} JOIN {right.source.name}"

    def _table_keys(self, left_e: ast.Expression, right_e: ast.Expression) -> bool:
        """Judge a table-table join; return whether it is by foreign key."""
        left, right = self._left, self._right
        if right_e not in right.candidates:
            criteria = self._scope.qualify(self._join.criteria, "JOIN ON")
            raise StatementError(
                "Invalid join condition: table-table joins require to join on the primary key of the right "
                f"input table. Got {_bare(str(criteria))}."
            )
        if left_e in left.candidates:
            return False
        if left.single is None:
            raise StatementError(
                "Invalid join condition: foreign-key table-table joins are not supported as part of n-way "
                f"joins. Got {left_e} = {right_e}."
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
                "Incompatible windowed sources.\n"
                f"Left source: {left.window.type}\nRight source: {right.window.type}\n"
                "Session windowed sources can only be joined to other session windowed sources, and may "
                "still not result in expected behaviour as session bounds must be an exact match for the "
                "join to work\n"
                "Hopping and tumbling windowed sources can only be joined to other hopping and tumbling "
                "windowed sources"
            )

    def _check_moves(self, left_moves: bool, right_moves: bool) -> None:
        left, right = self._left, self._right
        if left.window is not None and right.window is not None:
            # Keys of the registry's formats are always written anew, and may therefore differ.
            registry = all(side.key_format.info.format.uses_registry for side in (left, right))
            differ = (left.window, left.key_format.info) != (right.window, right.key_format.info)
            if left_moves or right_moves or (differ and not registry):
                raise StatementError(WINDOWED_REPARTITION)
        if left.partitions != right.partitions:
            raise StatementError(
                f"Can't join `{left.name}` with `{right.name}` since the number of partitions don't match. "
                f"`{left.name}` partitions = {left.partitions}; "
                f"`{right.name}` partitions = {right.partitions}. "
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
            layout=joined_layout(self._left, self._right, key),
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

    def _foreign(self, left_e: ast.Expression, right_e: ast.Expression, left_key: Bound) -> Relation:
        left, right = self._left, self._right
        assert left.single is not None
        key_columns = left.step.key
        step = steps.JoinStep(
            layout=joined_layout(left, right, key_columns),
            key=key_columns,
            table=True,
            left=left.step,
            right=right.step,
            join_type="FOREIGN_KEY",
            kind=self._join.kind,
            foreign_key=left_key,
        )
        key = replace(left.key, foreign_key_source=left.single.alias)
        return Relation(
            step,
            key,
            None,
            left.key_format,
            (*left.aliases, *right.aliases),
            left.partitions,
            candidates=left.candidates,
        )


def joined_layout(left: Relation, right: Relation, key: tuple[Column, ...]) -> Layout:
    """Return the joined flat row: left, right, key, the result's timestamp.

    Where the left side is a join itself, its timestamp and the key that it made up are no longer meant by
    their names: they are NULL where an outer join finds nothing there.
    """
    inner = left.step.layout.without_names({ROWTIME, left.synthetic})
    return Layout(
        (*inner.columns, *right.step.layout.columns, *named(key), (ROWTIME, PSEUDO_COLUMNS[0].type))
    )


def _bare(criteria: str) -> str:
    return criteria[1:-1] if criteria.startswith("(") and criteria.endswith(")") else criteria
