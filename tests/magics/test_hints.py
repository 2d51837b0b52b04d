"""A refusal tells the next step."""

from __future__ import annotations

import pytest

from kalam_jupyter.magics.errors import SqlError

ORDERS = """\
import pandas as pd
flights = pd.DataFrame({"id": [1], "price": [2.5]})
flights.kalam.to_stream("orders", key="id")"""
ELSEWHERE = "%%kalam sorts, joins and counts"


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("%ksql SELECT UPPER(id) FROM orders;", "ksqlDB calls it UCASE."),
        ("%ksql SELECT ROUNT(price) FROM orders;", "Did you mean ROUND?"),
        ("%ksql SELECT pric FROM orders;", "Did you mean PRICE?"),
        ("%ksql SELECT * FROM ordrs;", "Did you mean ORDERS?"),
        ("%ksql SELECT * FROM grees;", ""),  # near a function, which is no source
        ("%ksql SELECT * FROM flights;", "flights is a DataFrame: flights.kalam.to_stream('flights') makes"),
        ("%ksql SELECT id FROM orders ORDER BY id;", ELSEWHERE),
        ("%ksql SELECT COUNT(*) FROM orders GROUP BY id;", ELSEWHERE),
        ("%kalam SELECT * FROM orders", "Did you mean ksql.orders?"),
        ("%kalam SELECT pric FROM ksql.orders", "Did you mean price?"),
        ("%kalam SELECT * FROM flights", "flights is a DataFrame: flights.kalam.to_table('app.flights'"),
        (
            "%kalam --live SELECT COUNT(*) FROM ksql.orders GROUP BY id",
            "%%ksql groups, joins and counts live",
        ),
        ("%kalam SELCT 1", "Did you mean SELECT?"),
        ("%ksql UPDATE orders SET id = 1;", "A stream only grows"),
        ("%ksql SET auto.offset.reset = earliest;", "Names and values of properties are quoted"),
        (
            "%ksql SELECT id, COUNT(*) FROM orders WINDOW TUMBLING (SIZE 1) GROUP BY id;",
            "A duration has a unit",
        ),
        ("%ksql SELECT id COUNT(*) FROM orders GROUP BY id;", "Is a comma missing"),
        ("%ksql SELECT id FROM orders WHERE id IN (SELECT 1);", ELSEWHERE),
        ('%ksql SELECT id FROM orders WHERE id = "tea";', "Text is written in single quotes: 'tea'."),
        ("%ksql SELECT id FROM orders WHERE id = tan;", "Text is written in single quotes: 'tan'."),
        ("%ksql SELECT UPER(id) FROM orders;", "ksqlDB calls it UCASE."),
        ("%ksql PRINT order;", "Did you mean ORDERS?"),
        (
            "%ksql CREATE STREAM s (a VARCHR) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);",
            "Did you mean VARCHAR?",
        ),
        ("%ksql INSERT INTO power VALUES (1);", ""),  # a function
        ("%kalam SELECT * FROM ksql.orders EMIT CHANGES", "%%kalam --live"),
        ('%kalam SELECT * FROM ksql.orders WHERE id = "tea"', "Text is written in single quotes: 'tea'."),
        ("%kalam CREATE STREAM s (a INT)", "%%ksql has that statement."),
        ("%kalam CREATE STREAM TABLE nowhere.s (a INT) WITH (TTL_SECONDS=1)", ""),  # KalamDB's own
        ("%kalam TRUNCATE TABLE app.t", "DELETE FROM .. WHERE true takes out every row."),
    ],
)
def test_a_refusal_tells_the_next_step(run, cell: str, hint: str):
    run(ORDERS)
    with pytest.raises(SqlError) as caught:
        run(cell)
    assert caught.value.hint.startswith(hint)
    assert bool(caught.value.hint) == bool(hint)
