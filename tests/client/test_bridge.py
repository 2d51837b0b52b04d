"""Both dialects on one log: a table feeds a topic, a stream reads it, and back again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from kalam_jupyter.kalam.live_opening import LiveOptions
from kalam_jupyter.ksql.bridge import KsqlSources
from kalam_jupyter.ksql.metastore import Source
from kalam_jupyter.ksql.operators.record import Row
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


class WrittenMeanwhile(KsqlSources):
    """Sources that are written by another thread at every point of being read."""

    def _write(self) -> None:
        insert = "INSERT INTO orders (item, price) VALUES ('tea', 1.0);"
        with ThreadPoolExecutor(1) as other:
            other.submit(self._ksql.execute, insert).result(20)
        self._ksql.engine.settle()

    def _rows_until(self, source: Source) -> tuple[list[Row], int]:
        self._write()
        found = super()._rows_until(source)
        self._write()
        return found


def test_a_ksqldb_source_is_followed_from_its_rows_on_while_others_write() -> None:
    with Node.open() as node:
        node.ksql.execute(
            "CREATE STREAM orders (item STRING KEY, price DOUBLE) "
            "WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);"
            "CREATE TABLE revenue AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;"
        )
        node.engine.sources["ksql"] = WrittenMeanwhile(node.ksql)
        root = node.kalam.session("root")
        with closing(node.kalam.subscribe(root, "SELECT * FROM ksql.revenue", LiveOptions())) as live:
            assert live.snapshot().to_pylist() == [{"item": "tea", "n": 1}]
            (change,) = live.poll()
            assert (change.change_type, change.old, change.new) == ("update", ("tea", 1), ("tea", 2))
        with closing(node.kalam.subscribe(root, "SELECT * FROM ksql.orders", LiveOptions())) as live:
            assert live.snapshot().num_rows == 3
            assert [change.new for change in live.poll()] == [("tea", 1.0)]
