"""Embeddings: distances and nearest neighbours, with and without an index."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from usearch.index import Index

from kalam_jupyter.engine import Engine
from kalam_jupyter.kalam import Kalam, vectors
from kalam_jupyter.kalam.vectors import _best
from tests.kalam.conftest import CONFIG, Client


@pytest.fixture(autouse=True)
def small_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs of a few rows, where a scan would do."""
    monkeypatch.setattr(vectors, "SCANNED", 0)


@pytest.fixture
def docs(root: Client) -> Client:
    root.run("CREATE SHARED TABLE app.docs (id INT PRIMARY KEY, e EMBEDDING(3))")
    rng = np.random.default_rng(7)
    for i, row in enumerate(rng.normal(size=(60, 3))):
        root.run("INSERT INTO app.docs VALUES ($1, $2)", i, orjson.dumps(row.tolist()).decode())
    root.run("INSERT INTO app.docs VALUES (100, NULL), (101, '[0, 0, 0]')")
    return root


def nearest(client: Client, query: list[float], k: int) -> list[int]:
    """By hand: order of cosine distance, ties by id."""
    rows = [(i, np.asarray(v)) for i, v in client.rows("SELECT id, e FROM app.docs") if v is not None]
    q = np.asarray(query)

    def distance(v: np.ndarray) -> float:
        norm = np.linalg.norm(v) * np.linalg.norm(q)
        return 1.0 if norm == 0 else 1 - v @ q / norm

    return [i for _, i in sorted((distance(v), i) for i, v in rows)][:k]


QUERY = [0.3, -1.0, 0.5]
TEXT = "[0.3, -1.0, 0.5]"


@pytest.mark.parametrize("index", [None, "COSINE"])
def test_search_finds_the_nearest_rows(docs: Client, index: str | None) -> None:
    if index:
        said = docs.say(f"ALTER TABLE app.docs CREATE VECTOR INDEX e USING {index}")
        assert said == "Vector index enabled on app.docs.e (Cosine)"
    expected = nearest(docs, QUERY, 5)
    by_distance = docs.rows(
        "SELECT id FROM app.docs WHERE e IS NOT NULL ORDER BY COSINE_DISTANCE(e, $1) LIMIT 5", TEXT
    )
    assert [i for (i,) in by_distance] == expected
    sql = "SELECT row_id, score FROM vector_search('app.docs', 'e', $1, 5) ORDER BY score DESC"
    assert [int(i) for i, _ in docs.rows(sql, TEXT)] == expected
    docs.run(
        f"DELETE FROM app.docs WHERE id = {expected[0]}; UPDATE app.docs SET e = '{TEXT}' WHERE id = 100"
    )
    assert [int(i) for i, _ in docs.rows(sql, TEXT)] == [100, *expected[1:5]]
    search = f"vector_search('app.docs', 'e', '{TEXT}', 1)"
    joined = f"SELECT d.id FROM {search} v JOIN app.docs d ON d.id = CAST(v.row_id AS INT)"
    assert docs.rows(joined) == [(100,)]


def test_distance_of_null_and_zero_vectors(docs: Client) -> None:
    rows = docs.rows(
        f"SELECT id, COSINE_DISTANCE(e, '{TEXT}') AS d FROM app.docs WHERE id >= 100 ORDER BY id"
    )
    assert rows == [(100, None), (101, 1.0)]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        (
            "INSERT INTO app.docs VALUES (200, '[1, 2]')",
            "Embedding dimension mismatch for column 'e': expected 3, got 2",
        ),
        (
            "SELECT COSINE_DISTANCE(e, '[1, 2]') FROM app.docs WHERE id = 1",
            "COSINE_DISTANCE() dimension mismatch: row has 3, query has 2",
        ),
        ("SELECT * FROM vector_search('app.docs', 'e', '[1]')", "dimension mismatch"),
        ("SELECT * FROM vector_search('app.docs', 'id', '[1]')", "Column 'id' is not EMBEDDING"),
        ("SELECT * FROM vector_search('app.nope', 'e', '[1]')", "not found"),
        ("SELECT * FROM vector_search(1)", "vector_search takes"),
    ],
)
def test_vector_errors(docs: Client, sql: str, text: str) -> None:
    assert text in docs.error(sql).message


SEARCH = "SELECT row_id FROM vector_search('app.v', 'e', $1, 10)"


def fill(root: Client, rows: np.ndarray[Any, Any]) -> None:
    root.run(f"CREATE SHARED TABLE app.v (id INT PRIMARY KEY, e EMBEDDING({rows.shape[1]}))")
    values = ", ".join(f"({i}, '{orjson.dumps(row.tolist()).decode()}')" for i, row in enumerate(rows))
    root.run(f"INSERT INTO app.v VALUES {values}; ALTER TABLE app.v CREATE INDEX e USING L2")


def test_an_index_finds_nearly_what_a_scan_finds(root: Client) -> None:
    rng = np.random.default_rng(11)
    rows, queries = rng.normal(size=(800, 16)), rng.normal(size=(20, 16))
    fill(root, rows)
    found = 0
    for query in queries:
        exact = set(np.argsort(np.linalg.norm(rows - query, axis=1))[:10].tolist())
        answer = root.rows(SEARCH, orjson.dumps(query.tolist()).decode())
        found += len(exact & {int(i) for (i,) in answer})
    assert found >= 0.95 * 200


@pytest.mark.parametrize("damage", [False, True])
def test_a_saved_index_is_taken_up_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    added: list[int] = []
    add = Index.add

    def counted(self: Any, keys: Any, vectors: Any, **options: Any) -> Any:
        added.append(len(keys))
        return add(self, keys, vectors, **options)

    monkeypatch.setattr(Index, "add", counted)
    rows = np.random.default_rng(3).normal(size=(50, 4))
    query = orjson.dumps(rows[7].tolist()).decode()
    with Engine.open(tmp_path) as engine:
        kalam = Kalam(engine, CONFIG)
        root = Client(kalam, kalam.session("root"))
        root.run("CREATE NAMESPACE app")
        fill(root, rows)
        first = root.rows(SEARCH, query)
        kalam.close()
    assert added == [50]
    (saved,) = tmp_path.rglob("*.usearch")
    if damage:
        saved.write_bytes(b"not a graph")
    with Engine.open(tmp_path) as engine:
        kalam = Kalam(engine, CONFIG)
        root = Client(kalam, kalam.session("root"))
        assert root.rows(SEARCH, query) == first
        root.run(f"DELETE FROM app.v WHERE id = 7; INSERT INTO app.v VALUES (90, '{query}')")
        assert root.rows(SEARCH, query)[0] == ("90",)
        assert added == ([50, 50, 1] if damage else [50, 1])
        kalam.close()
        kalam = Kalam(engine, CONFIG)
        Client(kalam, kalam.session("root")).run("DROP TABLE app.v")
        assert list(tmp_path.rglob("*.usearch")) == []
        kalam.close()


def test_a_column_is_scanned_while_its_graph_is_being_built(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, add = threading.Event(), Index.add

    def held_back(self: Any, keys: Any, vectors: Any, **options: Any) -> Any:
        assert go.wait(60)
        return add(self, keys, vectors, **options)

    monkeypatch.setattr(Index, "add", held_back)
    monkeypatch.setattr(vectors, "AT_ONCE", 100)
    rows = np.random.default_rng(5).normal(size=(250, 8))
    fill(root, rows)
    exact = np.argsort(np.linalg.norm(rows - rows[9], axis=1))[:10].tolist()
    query = orjson.dumps(rows[9].tolist()).decode()
    assert [int(i) for (i,) in root.rows(SEARCH, query)] == exact
    go.set()
    root.kalam.vectors.settle()
    assert len(set(exact) & {int(i) for (i,) in root.rows(SEARCH, query)}) >= 9


def test_a_graph_that_was_not_finished_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "AT_ONCE", 100)
    monkeypatch.setattr(vectors, "_SAVE_FROM", 1)
    rows = np.random.default_rng(6).normal(size=(250, 4)).astype(np.float32)
    seqs, path, added, add = np.arange(1, 251), tmp_path / "graph", list[int](), Index.add

    def closing(self: Any, keys: Any, vectors: Any, **options: Any) -> Any:
        added.append(len(keys))
        graph._closing = True
        return add(self, keys, vectors, **options)

    monkeypatch.setattr(Index, "add", closing)
    graph = vectors._Index(4, "l2", path)
    assert graph.nearest(seqs, lambda: rows, rows[3], 1) is None
    graph.settle()
    graph.close()
    monkeypatch.setattr(vectors, "AT_ONCE", 1000)
    again = vectors._Index(4, "l2", path)
    assert again.nearest(seqs, lambda: rows, rows[3], 1) == [4]
    assert added == [100, 150]


@given(
    st.lists(st.sampled_from([0.0, 0.5, 0.5, 1.0, -1.0, float("nan")]), max_size=30),
    st.integers(min_value=0, max_value=35),
)
def test_the_best_are_the_first_of_all_in_order(scores: list[float], k: int) -> None:
    values = np.array(scores, dtype=np.float32)
    assert _best(values, k).tolist() == np.argsort(-values, kind="stable")[:k].tolist()
