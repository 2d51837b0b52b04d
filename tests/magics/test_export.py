from __future__ import annotations

import pytest

from kalam_jupyter.client import connect
from kalam_jupyter.magics.errors import SqlError, UsageError
from kalam_jupyter.node import Node

from .test_magics import ORDERS


def statements(script: str) -> list[str]:
    return [line for line in script.splitlines() if line and not line.startswith("--")]


def test_the_statements_that_changed_something_are_one_script(run, shell, tmp_path):
    run(ORDERS)
    run("%ksql SELECT * FROM revenue;")
    run("%ksql LIST STREAMS;")
    shell.user_ns["item"] = "milk; 'fresh'"
    run("%ksql INSERT INTO orders VALUES (4, :item, 1.5)")
    with pytest.raises(SqlError):
        run("%ksql CREATE STREAM orders (id INT) WITH (KAFKA_TOPIC='o', VALUE_FORMAT='JSON', PARTITIONS=1);")
    path = tmp_path / "orders.sql"
    assert repr(run(f"%ksql export {path}").value) == f"{path}: 6 statements"
    script = path.read_text()
    assert script.startswith("-- 6 ksqlDB statements that a notebook ran on embedded.\n")
    assert statements(script)[-1] == "INSERT INTO orders VALUES (4, 'milk; ''fresh''', 1.5);"
    with Node.open() as node:
        from kalam_jupyter.client import Connection
        from kalam_jupyter.client.inprocess import InProcessTransport

        fresh = Connection(InProcessTransport(node))
        fresh.ksql(f"RUN SCRIPT '{path}';")
        (counted,) = fresh.ksql("SELECT item, n FROM revenue;")
        assert sorted(counted.table.column("N").to_pylist()) == [1, 1, 2]


def test_streams_that_frames_declared_are_in_the_script_once(run):
    run("import pandas as pd\nframe = pd.DataFrame({'id': [1], 'price': [2.5]})")
    for _ in range(2):
        run("frame.kalam.to_stream('orders', key='id')")
    run("frame.kalam.to_table('prices', key='id')")
    run("%ksql CREATE STREAM dear AS SELECT * FROM orders WHERE price > 1;")
    made = [line.split(" (")[0] for line in statements(run("%ksql export").value.text)]
    assert made == [
        "CREATE STREAM `ORDERS`",
        "CREATE TABLE `PRICES`",
        "CREATE STREAM dear AS SELECT * FROM orders WHERE price > 1;",
    ]


def test_options_that_change_a_statement_are_in_the_script(run):
    run(ORDERS)
    run("%%ksql --earliest\nCREATE TABLE t AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;")
    run("%%ksql\nSET 'auto.offset.reset' = 'latest';\nDROP TABLE t -- gone\n;")
    script = run("%ksql export").value.text
    assert statements(script)[-6:] == [
        "SET 'auto.offset.reset' = 'earliest';",
        "CREATE TABLE t AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;",
        "UNSET 'auto.offset.reset';",
        "SET 'auto.offset.reset' = 'latest';",
        "DROP TABLE t -- gone",
        ";",
    ]


def test_what_names_a_query_by_its_id_is_a_comment(run):
    run(ORDERS)
    query_id = run("%ksql queries").value.Query[0]
    run(f"%ksql TERMINATE {query_id};")
    assert run("%ksql export").value.text.endswith(f"\n-- TERMINATE {query_id}\n")


def test_each_dialect_has_its_script(run, tmp_path):
    run("%kalam CREATE NAMESPACE shop")
    run("%%kalam --namespace shop\nCREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED');")
    run("%%kalam -n shop --params [1,'$1']\nINSERT INTO t (id, name) VALUES ($1, $2)")
    script = run("%ksql export --kalam").value.text
    assert statements(script) == [
        "CREATE NAMESPACE shop;",
        "USE NAMESPACE shop;",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED');",
        "INSERT INTO t (id, name) VALUES (1, '$1');",
    ]
    assert run("%kalam export").value.text == script
    with connect(f"embedded:{tmp_path / 'fresh'}") as fresh:
        fresh.kalam(script)
        assert fresh.table("shop.t").to_pylist() == [{"id": 1, "name": "$1"}]
        fresh.node.close()


def test_without_statements_there_is_nothing_to_export(run):
    run("%ksql LIST STREAMS;")
    with pytest.raises(
        UsageError, match="No ksql statement of this notebook has changed anything on embedded"
    ):
        run("%ksql export")


@pytest.mark.parametrize("words", ["a.sql b.sql", "--all", "/nowhere/at/all.sql"])
def test_what_export_cannot_do_is_told(run, words):
    run(ORDERS)
    with pytest.raises(UsageError):
        run(f"%ksql export {words}")
