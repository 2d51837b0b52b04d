"""The process that `test_crash` kills: writes at random, and prints each acknowledged write.

``python -m tests.engine.crash_writer PATH SEED``
"""

from __future__ import annotations

import random
import sys

import numpy as np
import pyarrow as pa

from kalam_jupyter.engine import Transaction, storage
from kalam_jupyter.engine.types import BIGINT, DOUBLE, STRING, Column, Schema
from tests.engine.support import USERS, WordCount, open_engine, words

BULK = Schema.of([Column("id", BIGINT, key=True), Column("text", STRING), Column("x", DOUBLE)])


def say(*parts: object) -> None:
    """Print one acknowledgement, which the kill cannot tear: it is one write of a short line."""
    sys.stdout.write(" ".join(map(str, parts)) + "\n")
    sys.stdout.flush()


def main(path: str, seed: int) -> None:
    """Write until killed."""
    storage.CHECKPOINT_ENTRIES = 40  # type: ignore[misc]
    rng = random.Random(seed)
    engine = open_engine(path)
    if "words" not in engine.topics():

        def setup(tx: Transaction) -> None:
            tx.create_topic("words")
            tx.create_topic("counts")
            tx.create_relation("users", USERS)
            tx.create_relation("bulk", BULK)
            engine.add_processor(WordCount(), "earliest")

        engine.transact(setup)
    else:
        engine.add_processor(WordCount())
    engine.start()
    n = engine.catalogue.get("n", "next") or 0
    say("open", n)
    while True:
        n += 1
        kind = rng.choice(["word", "word", "insert", "update", "delete", "bulk", "many"])
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
            else:
                for i in range(5):
                    tx.append("words", words(f"n{n}-{i}"))

        engine.transact(change)
        say("did", n, kind, key)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
