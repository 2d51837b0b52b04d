"""Values that would be larger than memory are refused where a query says how large they are."""

from __future__ import annotations

from typing import Any

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.kalam import Kalam, KalamError
from tests.kalam.conftest import CONFIG, Client


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT length(lpad('x', 2000000000))", ()),
        ("SELECT length(rpad('x', 2000000000, 'y'))", ()),
        ("SELECT length(repeat(concat('x', 'y'), $1))", (2_000_000_000,)),
        ("SELECT array_length(array_repeat(1, 300000000))", ()),
        ("SELECT array_length(array_resize([1, 2], 300000000, 0))", ()),
        ("SELECT 1, range(1000000000)", ()),
        ("INSERT INTO app.t VALUES (1, repeat('x', 2000000000))", ()),
        ("SELECT array_length(generate_series(-1000000000, 0, 10))", ()),
    ],
)
def test_a_value_larger_than_memory_is_refused(root: Client, sql: str, params: tuple[Any, ...]) -> None:
    root.run("CREATE SHARED TABLE app.t (id INT PRIMARY KEY, v TEXT)")
    assert "makes at most 10000000 characters or elements of one value" in root.error(sql, *params).message


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT lpad('7', 3, '0'), 2000000000 AS n", ("007", 2_000_000_000)),
        ("SELECT array_length(range(1700000000, 1700000010)), $1", (10, 7)),
        ("SELECT array_length(generate_series(0, 1000000000, 500000000)), $1", (3, 7)),
        ("SELECT count(*), $1 FROM range(0, 20000000)", (20_000_000, 7)),
        ("SELECT repeat('2000000000', $1), array_length(array_repeat(2000000000, 2))", ("2000000000" * 7, 2)),
    ],
)
def test_others_are_not(root: Client, sql: str, found: tuple[Any, ...]) -> None:
    assert root.rows(sql, *((7,) if "$" in sql else ())) == [found]


@pytest.mark.parametrize(
    "value",
    [
        "repeat('x', 4000)",
        "arrow_cast(repeat('x', 4000), 'Utf8View')",
        "arrow_cast(repeat('x', 4000), 'Dictionary(Int32, Utf8)')",
        "[arrow_cast(repeat('x', 4000), 'Dictionary(Int32, Utf8)')]",
        "named_struct('a', arrow_cast(repeat('x', 4000), 'Dictionary(Int32, Utf8View)'))",
    ],
)
def test_an_answer_to_a_client_is_no_larger_than_a_query_s_memory(engine: Engine, value: str) -> None:
    kalam = Kalam(engine, CONFIG.with_(query_memory=1 << 20))
    root = Client(kalam, kalam.session("root"))
    root.run("CREATE NAMESPACE app; CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, v TEXT)")
    few, many = (f"SELECT value AS id, {value} AS v FROM range(0, {n})" for n in (200, 300))
    assert len(root.rows(f"{few} LIMIT 1000", limit=True)) == 200
    refused = "Resources exhausted: The answer has .* bytes, a query may use 1048576"
    with pytest.raises(KalamError, match=refused):
        root.run(f"{many} LIMIT 1000", limit=True)
    if not value.startswith(("[", "named")):
        with pytest.raises(KalamError, match=refused):
            root.run(f"INSERT INTO app.t {many}", limit=True)
        assert root.rows("SELECT id FROM app.t") == []
    assert len(root.rows(many)) == 300, "in the process itself there is no such limit"
    kalam.close()
