"""INSERTs of an explicit transaction are run together: nobody may be able to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam import KalamError
from kalam_jupyter.kalam.block import ExplicitTransaction, UndoneError
from kalam_jupyter.kalam.context import Context
from tests.kalam.conftest import OwnKalam

INSERTS = st.sampled_from(
    [
        "INSERT INTO app.t VALUES (1, 'a', 1)",
        "INSERT INTO app.t VALUES (2, 'b', 2), (3, 'c', 3)",
        "INSERT INTO app.t VALUES (4, 'd', NULL)",
        "INSERT INTO app.t VALUES (10, 'there already', 1)",
        "INSERT INTO app.t VALUES (5, NULL, 5)",
        "INSERT INTO app.t VALUES ('x', 'no number', 1)",
        "INSERT INTO app.t VALUES (6, 'two values')",
        "INSERT INTO app.t VALUES (7, 'ragged', 1), (8, 'ragged')",
        "INSERT INTO app.t (id, name) VALUES (9, 'i')",
        "INSERT INTO app.other VALUES (1, 'a', 1)",
        "INSERT INTO app.missing VALUES (1)",
        "UPDATE app.t SET v = v + 1 WHERE id = 1",
        "DELETE FROM app.t WHERE id = 2",
        "INSERT INTO app.t SELECT id + 100, name, v FROM app.t WHERE id = 1",
    ]
)


class Tables(OwnKalam):
    """The same rows for every case."""

    def outcome(self, texts: Iterable[str], way: Callable[..., object]) -> object:
        for table in ("t", "other"):
            self.run(f"DROP TABLE IF EXISTS app.{table}")
            self.run(f"CREATE SHARED TABLE app.{table} (id BIGINT PRIMARY KEY, name TEXT NOT NULL, v INT)")
        self.run("INSERT INTO app.t VALUES (10, 'ten', 10)")
        said = way(self, f"BEGIN; {'; '.join(texts)}; COMMIT")
        rows = [self.rows(f"SELECT id, name, v FROM app.{t} ORDER BY id") for t in ("t", "other")]
        return said, rows

    def together(self, sql: str) -> object:
        try:
            results = self.kalam.execute(self.session, sql)
        except KalamError as error:
            return error.code, error.message
        return [r.message for r in results if "Transaction" not in (r.message or "")]

    def singly(self, sql: str) -> object:
        executor = self.kalam.executor
        steps = executor.steps(self.session, sql)
        block: ExplicitTransaction = executor.explicit(Context(self.kalam, self.session), steps)

        def apply(tx: Transaction) -> object:
            return block.apply_singly(tx)

        try:
            answers = self.engine.transact(apply)
        except UndoneError as error:
            why = error.error
            return why and (why.code, why.message)
        results = executor.summed(self.session, block.committed(answers))  # type: ignore[arg-type]
        return [r.message for r in results if "Transaction" not in (r.message or "")]


@pytest.fixture(scope="module")
def tables() -> Iterable[Tables]:
    with Tables() as found:
        yield found


@given(st.lists(INSERTS, min_size=1, max_size=8))
def test_together_is_as_one_by_one(tables: Tables, texts: list[str]) -> None:
    assert tables.outcome(texts, Tables.together) == tables.outcome(texts, Tables.singly)
