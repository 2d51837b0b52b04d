"""Vectors: distance functions, and nearest-neighbour search over EMBEDDING columns.

An indexed column that holds much is searched through an HNSW graph (usearch), which follows the table:
before a search the rows that came and went since the last one are added and removed, told apart by their
`_seq`. Many rows are added by a thread of the graph's own, and the column is scanned until that is done:
200,000 rows of 128 numbers are minutes of work for the graph, and 30 ms for a scan. Other columns are always
scanned. Graphs are saved beside the engine's data, as caches: one that is old, or cannot be read, costs time
and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kalam_jupyter.engine.types import Array
from kalam_jupyter.kalam.catalog import TableDef
from kalam_jupyter.kalam.coercion import embedding_values
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.priority import give_way
from kalam_jupyter.kalam.serialize import value_converter

if TYPE_CHECKING:
    from datafusion import ScalarUDF

Floats = npt.NDArray[np.float32]
Seqs = npt.NDArray[np.int64]
_METRICS = {"cosine": "cos", "l2": "l2sq", "dot": "ip"}
#: A graph is saved when so many of its rows changed, and a tenth of them; and at the end.
_SAVE_FROM = 1000
#: More rows than this are added to a graph beside the searches.
AT_ONCE = 1000
#: So many numbers are looked through without a graph, even if there is an index: 100,000 vectors of 128 take
#: 15 ms. A graph of them takes minutes to build, and finds 9 of 10 neighbours in half the time.
SCANNED = 1 << 24
#: How many neighbours a vector has in a graph, and how many candidates a search keeps. Of 100,000 random
#: vectors of 128 numbers, the worst there is, 92 of 100 neighbours are found in 6 ms (73 with half the
#: connectivity); of vectors that lie in clusters, all in 1 ms.
CONNECTIVITY = 32
EXPANSION = 512
_RESULT = pa.schema([pa.field("row_id", pa.string()), pa.field("score", pa.float32())])


def parse_vector(value: Any) -> Floats:
    """Return a query vector given as a list or as the text of a JSON array.

    Raises
    ------
    StatementError
    """
    try:
        return np.asarray(embedding_values(value), dtype=np.float32)
    except (ValueError, TypeError):
        raise StatementError(
            "execution", f"'{value}' is not a vector: expected a JSON array of numbers"
        ) from None


#: A query's batches of rows come one by one, each with the vector they are compared to.
_parse_cached = functools.lru_cache(maxsize=32)(parse_vector)


def cosine_distance(rows: Floats, query: Floats) -> Floats:
    """Return 1 - cosine for each row; 1.0 where a norm is zero."""
    norms = _lengths(rows) * np.linalg.norm(query)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 1 - (rows @ query) / norms
    return np.where(norms == 0, np.float32(1), found).astype(np.float32)


def l2_distance(rows: Floats, query: Floats) -> Floats:
    """Return the Euclidean distance of each row."""
    return _lengths(rows - query)


def _lengths(rows: Floats) -> Floats:
    """Return the norm of each row, in a quarter of the time of `np.linalg.norm`, which stores the squares."""
    found: Floats = np.sqrt(np.einsum("ij,ij->i", rows, rows), dtype=np.float32)
    return found


def _directions(vectors: Floats) -> Floats:
    """Return vectors of length 1, those without a direction as they are."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32, copy=False)


def inner_product(rows: Floats, query: Floats) -> Floats:
    """Return the inner product with each row."""
    return (rows @ query).astype(np.float32)


_FUNCTIONS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "cosine_distance": cosine_distance,
    "l2_distance": l2_distance,
    "inner_product": inner_product,
}


def _vectorised(name: str, function: Callable[[Floats, Floats], Floats]) -> Callable[..., pa.Array]:
    def apply(vectors: pa.Array, queries: pa.Array) -> pa.Array:
        texts = pc.unique(queries).to_pylist()
        if len(texts) > 1 or not len(vectors):
            one = [
                _one(name, function, v, q)
                for v, q in zip(vectors.to_pylist(), queries.to_pylist(), strict=True)
            ]
            return pa.array(one, type=pa.float32())
        if texts[0] is None:
            return pa.nulls(len(vectors), pa.float32())
        query = _parse_cached(texts[0])
        present = vectors.drop_null()
        lengths = pc.unique(pc.list_value_length(present)).to_pylist()
        for length in lengths:
            _check_size(name, length, len(query))
        values = _matrix(present, len(query))
        found = np.full(len(vectors), np.nan, dtype=np.float32)
        valid = vectors.is_valid().to_numpy(zero_copy_only=False)
        found[valid] = function(values, query)
        return pa.array(found, type=pa.float32(), mask=~valid)

    return apply


def _one(name: str, function: Callable[[Floats, Floats], Floats], vector: Any, query: Any) -> float | None:
    if vector is None or query is None:
        return None
    parsed = parse_vector(query)
    _check_size(name, len(vector), len(parsed))
    return float(function(np.asarray([vector], dtype=np.float32), parsed)[0])


def _check_size(name: str, row: int, query: int) -> None:
    if row != query:
        text = f"{name.upper()}() dimension mismatch: row has {row}, query has {query}"
        raise ValueError(text)


def vector_udfs() -> dict[str, ScalarUDF]:
    """Return the distance functions by name: of a vector column and a vector as text."""
    from datafusion import udf

    # The query engine repeats a constant for each row: as one of a dictionary it stays one text.
    types = [pa.list_(pa.float32()), pa.dictionary(pa.int32(), pa.string())]
    return {
        name: udf(_vectorised(name, function), types, pa.float32(), "immutable", name)
        for name, function in _FUNCTIONS.items()
    }


class _Index:
    """The HNSW graph of one column of one owner's rows.

    Parameters
    ----------
    path : Path or None
        Where it is saved; a graph that is there already is taken up.
    """

    def __init__(self, dimension: int, metric: str, path: Path | None = None) -> None:
        from usearch.index import Index

        self._graph: Any = None
        self._path = path
        if path is not None and path.is_file():
            # A file that is no graph is refused with whatever its bytes lead to.
            with contextlib.suppress(RuntimeError, ValueError, OSError):
                found = Index.restore(path)
                if found is not None and found.ndim == dimension:
                    self._graph = found
        if self._graph is None:
            # The direction of a vector fits half the bits: two thirds of the time, and the same neighbours.
            kind = "f16" if metric == "cosine" else "f32"
            self._graph = Index(
                ndim=dimension, metric=_METRICS[metric], dtype=kind, connectivity=CONNECTIVITY
            )
        self._placed = _directions if metric == "cosine" else np.asarray
        self._graph.expansion_search = EXPANSION
        keys = self._graph.keys[:] if len(self._graph) else ()
        self._seqs: Seqs = np.asarray(keys, dtype=np.int64)
        self._unsaved = 0
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closing = False

    def nearest(self, seqs: Seqs, vectors: Callable[[], Floats], query: Floats, k: int) -> list[int] | None:
        """Return the `_seq` of the nearest rows, nearest first; None while the graph is being built.

        Parameters
        ----------
        seqs
            Of all rows there are now.
        vectors : callable
            Gives their vectors.
        """
        if self._worker is not None and self._worker.is_alive():
            return None
        with self._lock:
            if not np.array_equal(seqs, self._seqs):
                if np.isin(seqs, self._seqs, assume_unique=True, invert=True).sum() > AT_ONCE:
                    self._follow_beside(seqs, vectors())
                    return None
                self._follow(seqs, vectors())
            if not len(seqs):
                return []
            few = min(k, len(seqs))
            return [int(key) for key in self._graph.search(self._placed(query), few).keys]

    def _follow_beside(self, seqs: Seqs, vectors: Floats) -> None:
        def work() -> None:
            with self._lock:
                self._follow(seqs, vectors)

        self._worker = threading.Thread(target=work, name="kalam-vectors", daemon=True)
        self._worker.start()
        give_way(self._worker)

    def _follow(self, seqs: Seqs, vectors: Floats) -> None:
        """Bring the graph to rows, as far as it is not being closed."""
        gone = np.setdiff1d(self._seqs, seqs, assume_unique=True)
        for seq in gone.tolist():
            self._graph.remove(seq)
        new = np.flatnonzero(np.isin(seqs, self._seqs, assume_unique=True, invert=True))
        known = np.setdiff1d(self._seqs, gone, assume_unique=True)
        for start in range(0, len(new), AT_ONCE):
            if self._closing:
                self._seqs = np.concatenate([known, seqs[new[:start]]])
                self._unsaved += len(gone) + start
                return
            part = new[start : start + AT_ONCE]
            self._graph.add(seqs[part], self._placed(vectors[part]))
        self._seqs = seqs
        self._unsaved += len(gone) + len(new)
        if self._unsaved > max(_SAVE_FROM, len(seqs) // 10):
            self._save()

    def settle(self) -> None:
        """Wait until a graph that is being built is there."""
        if self._worker is not None:
            self._worker.join()

    def abandon(self) -> None:
        """Stop building, and save no more. Waits for nothing: a transaction is being committed."""
        self._closing, self._path = True, None

    def close(self) -> None:
        """Stop building, and save what was built."""
        self._closing = True
        self.settle()
        with self._lock:
            self._save()

    def _save(self) -> None:
        """Write the graph beside its old form, then put it in its place."""
        path = self._path
        if path is None or not self._unsaved:
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(".part")
        self._graph.save(partial)
        partial.replace(path)
        self._unsaved = 0


class VectorSearch:
    """Nearest-neighbour search of one `Kalam`.

    Parameters
    ----------
    directory : Path or None
        Where graphs are saved; None keeps them in memory.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._indexes: dict[tuple[str, int, str, str, str], _Index] = {}

    def search(
        self, table: TableDef, owner: str, batches: Sequence[pa.RecordBatch], column: str, query: Any, k: int
    ) -> pa.RecordBatch:
        """Return (row_id, score) of the `k` nearest visible rows, best first.

        The score grows with similarity: the cosine, the inner product, or 1 / (1 + distance) for L2.

        Raises
        ------
        StatementError
            If the column holds no vectors, or those of another size.
        """
        type_ = table.schema.column(column).type if column in table.by_name else None
        if not isinstance(type_, Array) or type_.size is None:
            raise StatementError("invalid_operation", f"Column '{column}' is not EMBEDDING")
        wanted = parse_vector(query)
        if len(wanted) != type_.size:
            raise StatementError(
                "execution",
                f"vector_search() dimension mismatch: column has {type_.size}, query has {len(wanted)}",
            )
        keys, seqs, stored = _columns(table, batches, column)
        metric, size = table.vectors.get(column), type_.size

        nearest = None
        if metric is not None and len(seqs) * size > SCANNED:
            index = self._index(table, owner, column, metric, size)
            nearest = index.nearest(seqs, lambda: _matrix(stored, size), wanted, k)
        if nearest is None:
            chunks = [_scores(metric or "cosine", _matrix(c, size), wanted) for c in stored.chunks]
            every = np.concatenate(chunks) if chunks else np.empty(0, dtype=np.float32)
            picked = _best(every, k)
            scores = every[picked]
        else:
            hits = np.flatnonzero(np.isin(seqs, nearest))
            at = dict(zip(seqs[hits].tolist(), hits.tolist(), strict=True))
            picked = np.array([at[seq] for seq in nearest], dtype=np.int64)
            rows = [stored[i].values.to_numpy(zero_copy_only=False) for i in picked.tolist()]
            scores = _scores(metric or "cosine", np.reshape(rows, (-1, size)), wanted)
        convert = value_converter(table.schema.columns[table.key_index].type) or str
        ids = [str(convert(keys[i].as_py())) for i in picked.tolist()]
        return pa.record_batch([pa.array(ids, pa.string()), pa.array(scores, pa.float32())], schema=_RESULT)

    def _index(self, table: TableDef, owner: str, column: str, metric: str, size: int) -> _Index:
        key = (table.relation, table.incarnation, owner, column, metric)
        with self._lock:
            found = self._indexes.get(key)
            if found is None:
                found = self._indexes[key] = _Index(size, metric, self._path(*key))
            return found

    def _path(self, relation: str, *rest: object) -> Path | None:
        """Return where a graph is saved: named by digests, so that no name leads out of the directory."""
        if self._directory is None:
            return None
        return self._directory / f"{_digest(relation)}-{_digest(repr(rest))}.usearch"

    def settle(self) -> None:
        """Wait until no graph is being built."""
        with self._lock:
            indexes = list(self._indexes.values())
        for index in indexes:
            index.settle()

    def close(self) -> None:
        """Save what changed."""
        with self._lock:
            indexes = list(self._indexes.values())
        for index in indexes:
            index.close()

    def forget(self, table: TableDef) -> None:
        """Drop the indexes of a table that is gone."""
        with self._lock:
            gone = [self._indexes.pop(key) for key in list(self._indexes) if key[0] == table.relation]
        for index in gone:
            index.abandon()
        if self._directory is not None:
            for path in self._directory.glob(f"{_digest(table.relation)}-*"):
                path.unlink(missing_ok=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _columns(
    table: TableDef, batches: Sequence[pa.RecordBatch], column: str
) -> tuple[pa.ChunkedArray, Seqs, pa.ChunkedArray]:
    """Return keys, `_seq` and vectors of the rows that have one."""
    data = pa.Table.from_batches(list(batches)) if batches else table.schema.arrow.empty_table()
    if data.column(column).null_count:
        data = data.filter(pc.is_valid(data.column(column)))
    key = table.schema.names[table.key_index]
    return data.column(key), data.column("_seq").to_numpy(), data.column(column)


def _matrix(column: pa.Array | pa.ChunkedArray, size: int) -> Floats:
    """Return vectors as rows; those of one array without copying them."""
    values = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float32).reshape(-1, size)


def _best(scores: Floats, k: int) -> npt.NDArray[np.intp]:
    """Return the positions of the `k` greatest scores, greatest first, the first of equals first."""
    order = -scores
    if not 0 < k < len(order):
        return np.argsort(order, kind="stable")[:k]
    last = np.partition(order, k - 1)[k - 1]
    near = np.flatnonzero(~(order > last))  # NaN is not greater either, and is sorted behind
    return near[np.argsort(order[near], kind="stable")[:k]]


def _scores(metric: str, vectors: Floats, query: Floats) -> Floats:
    if metric == "cosine":
        return np.float32(1) - cosine_distance(vectors, query)
    if metric == "dot":
        return inner_product(vectors, query)
    return (1 / (1 + l2_distance(vectors, query))).astype(np.float32)
