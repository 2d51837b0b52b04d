"""What an UPDATE or DELETE is about is looked for before its transaction; others write in between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.kalam import selection
from kalam_jupyter.kalam.context import Change, Context
from tests.kalam.conftest import OwnKalam

STATEMENTS = st.sampled_from(
    [
        "UPDATE app.{t} SET v = v + 10 WHERE v > 2",
        "UPDATE app.{t} SET name = 'x' WHERE name = 'b' OR v = 1",
        "UPDATE app.{t} SET name = reverse(name), v = v * 2 WHERE v >= 2",
        "UPDATE app.{t} SET name = reverse(name) WHERE id = 3",
        "UPDATE app.{t} SET v = 0 WHERE regexp_like(name, '^[ab]')",
        "UPDATE app.{t} SET v = 7 WHERE v > (SELECT avg(v) FROM app.{t})",
        "DELETE FROM app.{t} WHERE v < 3",
        "DELETE FROM app.{t} WHERE regexp_like(name, 'b')",
        "DELETE FROM app.{t} WHERE id = 2",
    ]
)
WRITES = st.sampled_from(
    [
        "INSERT INTO app.{t} (id, name, v) VALUES (50, 'ab', 5)",
        "INSERT INTO app.{t} (id, name, v) VALUES (51, 'b', 1)",
        "UPDATE app.{t} SET v = 5 WHERE id = 1",
        "UPDATE app.{t} SET v = 0, name = 'b' WHERE id = 3",
        "DELETE FROM app.{t} WHERE id = 3",
        "DELETE FROM app.{t} WHERE id = 4",
        "ALTER TABLE app.{t} ADD COLUMN extra INT",
    ]
)


class Tables(OwnKalam):
    """Two tables with the same rows, again and again."""

    def start(self, table: str) -> None:
        self.run(f"DROP TABLE IF EXISTS app.{table}")
        self.run(f"CREATE SHARED TABLE app.{table} (id BIGINT PRIMARY KEY, name TEXT, v INT)")
        self.run(f"INSERT INTO app.{table} VALUES (1,'a',1), (2,'b',2), (3,'abc',3), (4,'d',4), (5,'b',NULL)")

    def content(self, table: str) -> object:
        return self.rows(f"SELECT * EXCEPT (_seq) FROM app.{table} ORDER BY id")


@pytest.fixture(scope="module")
def tables() -> Iterator[Tables]:
    with Tables() as found:
        yield found


@given(STATEMENTS, st.lists(WRITES, max_size=3, unique=True))
def test_writes_of_others_in_between_count(tables: Tables, statement: str, writes: list[str]) -> None:
    for table in ("early", "late"):
        tables.start(table)
    ctx = Context(tables.kalam, tables.session)
    (step,) = tables.kalam.executor.steps(tables.session, statement.format(t="early"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "SCAN_ROWS", 2)
        change = tables.kalam.executor.start(ctx, step.statement)
        assert isinstance(change, Change)
        for write in writes:
            tables.run(write.format(t="early"))
        early = ctx.run(change.apply)
    for write in writes:
        tables.run(write.format(t="late"))
    late = tables.one(statement.format(t="late")).row_count
    assert early == late
    assert tables.content("early") == tables.content("late")
