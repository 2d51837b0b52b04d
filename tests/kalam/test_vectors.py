"""Embeddings: distances and nearest neighbours, with and without an index."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from tests.kalam.conftest import Client


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
