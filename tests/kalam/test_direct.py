"""The two ways to answer a simple query, by Python and by the query engine, agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam, direct
from tests.kalam.conftest import CONFIG, START_MS, Client

ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-3, 3)),
        st.one_of(st.none(), st.sampled_from(["", "a", "B", "a_b", "%"])),
    ),
    max_size=8,
)


CONDITIONS = [
    "n = 1",
    "n <> 1 OR s IS NULL",
    "NOT (n > 0 AND s = 'a')",
    "n IN (1, NULL)",
    "n NOT IN (0, 2)",
    "n BETWEEN -1 AND 1",
    "n NOT BETWEEN 0 AND 2",
    "s LIKE 'a%'",
    "s NOT LIKE 'a\\_b'",
    "s ILIKE 'b'",
    "(n = 1) IS NULL",
    "n + 1 > 1",
    "-n < 2",
    "upper(s) = 'A' AND length(s) = 1",
    "coalesce(n, 0) = 0",
    "s || 'x' = 'ax'",
    "n = 1 IS NOT TRUE",
]


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS,
    where=st.sampled_from(CONDITIONS),
    order=st.sampled_from(["n, id", "s DESC, id DESC", "n DESC NULLS LAST, id"]),
)
def test_direct_answers_equal_those_of_the_query_engine(rows: Any, where: str, order: str) -> None:
    with Engine.open(clock=Clock(START_MS)) as engine:
        kalam = Kalam(engine, CONFIG)
        client = Client(kalam, kalam.session("root"))
        client.run("CREATE NAMESPACE app; CREATE SHARED TABLE app.t (id INT PRIMARY KEY, n INT, s TEXT)")
        for i, (n, s) in enumerate(rows):
            client.run("INSERT INTO app.t VALUES ($1, $2, $3)", i, n, s)
        sql = f"SELECT id, n, s FROM app.t WHERE {where} ORDER BY {order}"
        assert direct.recognise(sql) is not None
        table = kalam.queries.collect(client.session, sql)
        assert client.rows(sql) == list(zip(*(c.to_pylist() for c in table.columns), strict=True))
        kalam.close()


MIXED = {
    "SMALLINT": ("1", "10", "'9'", "' 9 '", "'09'", "9.5", "'x'", "true"),
    "BIGINT": ("1", "10", "'9'", "9.5", "'9007199254740993'"),
    "DOUBLE": ("1.5", "10", "'1.5'", "'1.50'", "'1e0'", "2"),
    "DECIMAL(10,2)": ("1.50", "10", "'1.5'", "1.505", "2"),
    "BOOLEAN": ("true", "false", "1", "0", "'true'", "'f'", "'x'"),
    "TEXT": ("'1'", "'b'", "1", "true"),
    "UUID": (
        "'018f3c6c-7c5e-7bbb-8000-000000000001'",
        "'018f3c6c-7c5e-7bbb-8000-000000000002'",
        "'018F3C6C-7C5E-7BBB-8000-000000000001'",
    ),
    "TIMESTAMP": ("'2026-01-01'", "'2026-01-02T10:00:00Z'", "1767225600000000", "1", "'x'"),
    "DATETIME": ("'2026-01-01'", "'2026-01-02T10:00:00+02:00'", "1767225600000000"),
    "DATE": ("'2026-01-01'", "'2026-01-02'", "20454", "'2026-01-01T00:00:00Z'"),
    "TIME": ("'10:00:00'", "'10:00:01.5'", "36000000000", "-1", "99999999999999"),
}


@pytest.mark.parametrize("type_", MIXED)
def test_constants_mean_the_same_to_python_and_to_the_query_engine(root: Client, type_: str) -> None:
    """A condition is a Python function over few rows and the query engine's over many."""
    first, second, *_ = literals = MIXED[type_]
    root.run(f"CREATE TABLE app.t (id INT PRIMARY KEY, c {type_})")
    root.run(f"INSERT INTO app.t VALUES (1, {first}), (2, {second}), (3, NULL)")
    compared = 0
    for form in ("c = {}", "c <> {}", "c < {}", "{} <= c", "c IN ({}, NULL)", "NOT (c > {} AND id > 0)"):
        for sql in [f"SELECT id FROM app.t WHERE {form.format(literal)}" for literal in literals]:
            query = direct.recognise(sql)
            assert query is not None
            found = direct.run(root.kalam, root.session, query, (), "default", limit=False)
            if found is None:
                continue
            text = direct.for_the_engine(root.kalam, query, sql, (), "default")
            table = root.kalam.queries.collect(root.session, f"{text} ORDER BY id")
            assert (sql, list(found.rows())) == (sql, [(i,) for i in table.column(0).to_pylist()])
            compared += 1
    assert compared >= 3 * len(literals)


def test_numbers_that_clients_got_for_moments_find_them_in_large_tables_too(root: Client) -> None:
    root.run("CREATE TABLE app.log (id INT PRIMARY KEY, at TIMESTAMP, n TEXT)")
    start = START_MS * 1000
    root.run("INSERT INTO app.log VALUES " + ", ".join(f"({i}, {start + i}, '{i}')" for i in range(5000)))
    assert root.rows("SELECT id FROM app.log WHERE at = $1", start + 4321) == [(4321,)]
    assert root.rows("SELECT count(*) FROM app.log WHERE at >= $1 AND n <> $2", start + 10, "x") == [(4990,)]
    live = root.kalam.subscribe(root.session, f"SELECT id FROM app.log WHERE at > {start + 4997}", {})
    assert live.snapshot().column("id").to_pylist() == [4998, 4999]
    live.close()
    assert root.say("UPDATE app.log SET n = upper(n) || '!' WHERE at < $1", start + 3) == "Updated 3 row(s)"
    assert root.say("DELETE FROM app.log WHERE at >= $1", start + 2) == "Deleted 4998 row(s)"
