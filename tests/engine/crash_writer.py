"""The process that `test_crash` kills: writes at random, and prints each acknowledged write.

``python -m tests.engine.crash_writer PATH SEED``
"""

from __future__ import annotations

import random
import sys

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine import Engine, Transaction, cleaner, records, storage
from kalam_jupyter.engine.batch import Batch
from kalam_jupyter.engine.types import BIGINT, DOUBLE, STRING, Column, Schema
from tests.engine.support import USERS, WordCount, open_engine, words

KINDS = ["word", "word", "insert", "update", "delete", "bulk", "many", "table", "table", "compact"]
#: Compacted topics: one that nobody reads, one with a processor.
TABLES = ("table", "followed")
BULK = Schema.of([Column("id", BIGINT, key=True), Column("text", STRING), Column("x", DOUBLE)])


def say(*parts: object) -> None:
    """Print one acknowledgement, which the kill cannot tear: it is one write of a short line."""
    sys.stdout.write(" ".join(map(str, parts)) + "\n")
    sys.stdout.flush()


def table_records(n: int, key: int) -> list[tuple[str, str | None]]:
    """What write `n` puts into the compacted topics; a few of its keys are deleted."""
    return [(f"k{(key + i) % 90}", None if i % 13 == 5 else f"n{n}") for i in range(80)]


def add_processors(engine: Engine) -> tuple[WordCount, WordCount]:
    """Register what counts the words, and the records of a compacted topic by their values."""
    found = WordCount(), WordCount("followed-count", "followed", "seen")
    for processor in found:
        engine.add_processor(processor, "earliest")
    return found


def main(path: str, seed: int) -> None:
    """Write until killed."""
    storage.CHECKPOINT_ENTRIES = 40  # type: ignore[misc]
    records.MIN_DIRTY = cleaner.MIN_DIRTY = 200  # type: ignore[misc]
    rng = random.Random(seed)
    engine = open_engine(path)
    if "words" not in engine.topics():

        def setup(tx: Transaction) -> None:
            tx.create_topic("words")
            tx.create_topic("counts")
            for name in TABLES:
                tx.create_topic(name, 1, {"cleanup_policy": "compact"})
            tx.create_topic("seen")
            tx.create_relation("users", USERS)
            tx.create_relation("bulk", BULK)
            add_processors(engine)

        engine.transact(setup)
    else:
        add_processors(engine)
    engine.start()
    n = engine.catalogue.get("n", "next") or 0
    say("open", n)
    while True:
        n += 1
        kind = rng.choice(KINDS)
        key = rng.randrange(20)

        def change(tx: Transaction, n: int = n, kind: str = kind, key: int = key) -> None:
            tx.put("n", "next", n)
            if kind == "word":
                tx.append("words", words(f"w{key}", f"n{n}"))
            elif kind == "insert":
                tx.insert("users", [(1_000 + n, f"n{n}", 0.5)])
            elif kind == "update":
                tx.upsert("users", [(key, f"n{n}", float(n))])
                tx.upsert("users", [(key + 20, f"n{n}", float(n))])
            elif kind == "delete":
                tx.delete("users", [(key,), (key + 20,)])
            elif kind == "bulk":
                ids = np.arange(300) + n * 1_000
                table = pa.table({"id": ids, "text": [f"n{n}"] * 300, "x": ids / 2})
                tx.insert("bulk", table)
            elif kind == "table":
                pairs = table_records(n, key)
                raw = [k.encode() for k, _ in pairs], [None if v is None else v.encode() for _, v in pairs]
                for name in TABLES:
                    tx.append(name, Batch([n] * len(pairs), raw=raw))
            elif kind == "many":
                for i in range(5):
                    tx.append("words", words(f"n{n}-{i}"))

        engine.transact(change)
        if kind == "compact":
            for name in TABLES:
                engine.compact_topic(name)
        say("did", n, kind, key)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
