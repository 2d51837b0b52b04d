"""An answer that is right and puzzles is explained."""

from __future__ import annotations

import kalam_jupyter

ORDERS = """\
import pandas as pd
pd.DataFrame({"id": [1, 2], "price": [2.5, 0.0]}).kalam.to_stream("orders", key="id")"""
TABLE = "%%ksql {}\nCREATE TABLE revenue AS SELECT id, SUM(price) AS total FROM orders GROUP BY id;"
EMPTY = "No rows: CTAS_REVENUE_"


def test_an_empty_result_tells_that_its_query_has_read_nothing(run):
    run(ORDERS)
    run(TABLE.format(""))
    assert EMPTY in str(run("%ksql SELECT * FROM revenue;"))
    run("%ksql INSERT INTO orders (id, price) VALUES (3, 1.0);")
    assert EMPTY not in str(run("%ksql SELECT * FROM revenue WHERE id = 9;"))


def test_a_query_that_began_at_the_beginning_needs_no_word(run):
    run(ORDERS)
    run(TABLE.format("--earliest"))
    assert "No rows" not in str(run("%ksql SELECT * FROM revenue WHERE id = 9;"))


def test_a_live_table_says_that_it_waits_for_what_comes_next(run):
    run(ORDERS)
    pushed = "SELECT * FROM orders EMIT CHANGES;"
    assert "--earliest" in run(f"%ksql {pushed}").value.waiting
    assert run(f"%ksql --earliest {pushed}").value.waiting == ""
    assert run(f"%%ksql\nSET 'auto.offset.reset' = 'earliest';\n{pushed}").value.waiting == ""


def test_values_that_could_not_be_computed_are_told_once(run):
    @kalam_jupyter.udf("inverse_in_a_test(x DOUBLE) -> DOUBLE")
    def inverse(x: float) -> float:
        return 1 / x

    run(ORDERS)
    selected = "%ksql SELECT id, inverse_in_a_test(price) AS i FROM orders;"
    assert "1 new report in the processing log, the last: inverse: ZeroDivisionError" in str(run(selected))
    assert "processing log" not in str(run("%ksql SELECT * FROM orders;"))
