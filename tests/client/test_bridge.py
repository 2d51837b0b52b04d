"""Both dialects on one log: a table feeds a topic, a stream reads it, and back again."""

from __future__ import annotations

from kalam_jupyter.node import Node


def test_a_row_goes_from_a_kalam_table_to_a_ksql_table_and_back() -> None:
    with Node.open() as node:
        root = node.kalam.session("root")
        for sql in (
            "CREATE NAMESPACE app",
            "CREATE SHARED TABLE app.orders (id BIGINT PRIMARY KEY, item TEXT, price DOUBLE)",
            "CREATE TOPIC app.events",
            "ALTER TOPIC app.events ADD SOURCE app.orders ON INSERT WITH (payload = 'full')",
        ):
            node.kalam.execute(root, sql)
        node.ksql.execute(
            "CREATE STREAM orders (item STRING, price DOUBLE) "
            "WITH (KAFKA_TOPIC='app.events', VALUE_FORMAT='JSON');"
            "CREATE TABLE revenue AS "
            "SELECT item, COUNT(*) AS n, SUM(price) AS total FROM orders GROUP BY item;"
        )
        live = node.kalam.subscribe(root, "SELECT * FROM ksql.revenue")
        node.kalam.execute(root, "INSERT INTO app.orders VALUES (1, 'tea', 2.5), (2, 'tea', 1.5)")

        rows = node.ksql.query("SELECT * FROM revenue;").table().to_pylist()
        assert rows == [{"ITEM": "tea", "N": 2, "TOTAL": 4.0}]
        (result,) = node.kalam.execute(root, "SELECT item, total FROM ksql.revenue WHERE total > 1")
        assert result.table is not None
        assert [tuple(r.values()) for r in result.table.to_pylist()] == [("tea", 4.0)]
        assert live.wait(10)
        assert live.poll()
        live.close()
