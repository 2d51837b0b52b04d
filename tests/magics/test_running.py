"""Options that change how statements run, and interrupts."""

from __future__ import annotations

import _thread
import threading

import pytest

from kalam_jupyter.client.connections import connections
from kalam_jupyter.magics.errors import InterruptedCellError, SqlError, UsageError
from kalam_jupyter.widgets import live_widgets
from tests.magics.test_magics import ORDERS, WAIT_S

NOTES = """%%kalam
CREATE NAMESPACE app;
CREATE TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='USER');
CREATE USER 'alice' WITH PASSWORD 'Abcdef123!' ROLE user;
"""


def test_into_assigns_the_last_result(run, shell):
    run(ORDERS)
    cell = run("%%ksql --into x\nLIST STREAMS;\nSELECT * FROM revenue WHERE item = 'tea';")
    assert shell.user_ns["x"].N.tolist() == [2]
    assert repr(cell.value) == "x: 1 row × 3 columns"


def test_once_reads_what_a_push_query_has_and_ends_it(run, shell):
    run(ORDERS)
    rows = run("%%ksql --once --earliest\nSELECT id FROM orders EMIT CHANGES;").value
    assert rows.ID.tolist() == [1, 2, 3]
    assert connections.current.streams == [] and live_widgets() == []


def test_once_without_rows_says_where_a_push_query_begins(run):
    run(ORDERS)
    cell = run("%%ksql --once\nSELECT id FROM orders EMIT CHANGES;")
    assert "--earliest" in str(cell) and cell.value.empty


def test_a_refusal_in_a_cell_of_several_statements_shows_the_line_of_its_statement(run):
    run(ORDERS)
    with pytest.raises(SqlError) as caught:
        run("%%ksql\nSHOW STREAMS;\nDROP STREAM orders;")
    assert str(caught.value).startswith(
        "ksqlDB error at line 3 [40001]\n\n   3 │ DROP STREAM orders;\n\nCannot drop"
    )


def test_a_keyword_in_the_wrong_place_is_no_misspelt_name(run):
    run(ORDERS)
    with pytest.raises(SqlError) as caught:
        run("%%ksql\nSELECT item, sum(price FROM orders;")
    assert caught.value.token == "FROM" and not caught.value.hint


@pytest.mark.parametrize(
    ("cell", "near"),
    [
        ("%%ksql\nSELECT * FROM orders WHERE idd = 1;", "ID"),
        ("%%ksql\nSELECT itm FROM revenue;", "ITEM"),
        ("%%kalam\nSELECT boddy FROM app.notes", "body"),
    ],
)
def test_a_misspelt_column_is_looked_for_among_the_columns_of_the_statement(run, cell, near):
    run(ORDERS)
    run(NOTES)
    with pytest.raises(SqlError) as caught:
        run(cell)
    assert caught.value.hint == f"Did you mean {near}?"


def test_once_keeps_the_latest_row_of_each_key(run):
    run(ORDERS)
    rows = run("%%ksql --once --earliest\nSELECT * FROM revenue EMIT CHANGES;").value
    assert dict(zip(rows.ITEM, rows.N, strict=True)) == {"tea": 2, "milk": 1}


def test_once_reads_what_a_live_query_has(run):
    run(NOTES)
    run("%kalam INSERT INTO app.notes VALUES (1, 'tea'), (2, 'milk')")
    assert sorted(run("%kalam --once SUBSCRIBE TO app.notes").value.id) == [1, 2]


def test_a_timeout_ends_a_live_table(run):
    run(ORDERS)
    table = run("%ksql --timeout 0.05 SELECT * FROM orders EMIT CHANGES;").value
    assert table.wait(timeout=WAIT_S)
    assert table.ended


def test_a_timeout_ends_the_wait_for_a_statement(run):
    run(ORDERS)
    release = threading.Event()
    held = connections.current.node.engine.submit(lambda tx: release.wait(WAIT_S))
    with pytest.raises(InterruptedCellError, match=r"after 0\.05 s"):
        run("%ksql --timeout 0.05 INSERT INTO orders VALUES (4, 'tea', 1.0);")
    release.set()
    held.result(WAIT_S)
    assert len(run("%ksql SELECT * FROM orders;").value) >= 3


def test_an_interrupt_shows_one_line(run, shell):
    run(ORDERS)

    def interrupted():
        _thread.interrupt_main()
        return threading.Event().wait(WAIT_S)

    shell.user_ns["interrupted"] = interrupted
    with pytest.raises(InterruptedCellError) as caught:
        run("%kalam --params interrupted() SELECT $1")
    (line,) = caught.value._render_traceback_()
    assert "Interrupted." in line
    assert len(run("%ksql SELECT * FROM orders;").value) == 3


def test_explain_shows_the_plan_and_runs_nothing(run):
    run(ORDERS)
    shown = str(run("%ksql --explain CREATE STREAM big AS SELECT * FROM orders WHERE price > 3;"))
    assert "orders" in shown.lower()
    assert run("%ksql LIST STREAMS;").value["Name"].tolist() == ["ORDERS"]
    run(NOTES)
    plans = run("%kalam --explain SELECT * FROM app.notes").value
    assert "plan" in plans.columns


def test_an_error_behind_explain_points_at_its_token(run):
    run(ORDERS)
    with pytest.raises(SqlError) as caught:
        run("%%ksql --explain\n  SELECT nope FROM orders EMIT CHANGES;")
    assert caught.value.token == "nope"


def test_statements_act_as_another_user(run):
    run(NOTES)
    run("%kalam --as-user alice INSERT INTO app.notes VALUES (1, 'hers') -- a note")
    assert len(run("%kalam SELECT * FROM app.notes").value) == 0
    assert run("%kalam --as-user alice SELECT body FROM app.notes").value.body.tolist() == ["hers"]
    frame = run("%kalam --as-user alice --params [1] SELECT body FROM app.notes WHERE id = $1").value
    assert frame.body.tolist() == ["hers"]


def test_live_queries_belong_to_the_connections_user(run):
    run(NOTES)
    with pytest.raises(UsageError, match="own user"):
        run("%kalam --as-user alice --live SELECT * FROM app.notes")


def test_into_writes_rows_into_a_table_by_key(run):
    run(ORDERS)
    for _ in range(2):
        assert repr(run("%ksql --into shop.revenue SELECT * FROM revenue;").value) == "shop.revenue: 2 rows"
    assert run("%kalam SELECT n FROM shop.revenue WHERE item = 'tea'").value.n.tolist() == [2]


def test_a_query_that_goes_on_fills_no_table(run):
    run(ORDERS)
    with pytest.raises(UsageError, match="add --once"):
        run("%ksql --into shop.o SELECT * FROM orders EMIT CHANGES;")
    assert connections.current.streams == []


def test_a_run_of_inserts_says_how_many_rows(run):
    cell = run(
        ORDERS + "SELECT COUNT(*) AS n FROM orders EMIT CHANGES LIMIT 1;\nDEFINE item = 'tea';\n"
        "INSERT INTO orders (id, item) VALUES (4, 'SELECT');\nDROP TABLE revenue;"
    )
    lines = str(cell).splitlines()
    assert "3 rows inserted" in lines
    assert lines.index("1 row inserted") > lines.index("3 rows inserted")
    assert len(cell.shown) == 5  # streams made, rows, query, row; the last is the value


def test_insert_select_says_what_the_engine_says(run):
    run(ORDERS)
    run("%ksql CREATE STREAM o2 (id INT KEY, p DOUBLE) WITH (KAFKA_TOPIC='o2', FORMAT='JSON', PARTITIONS=1);")
    assert "inserted" not in str(run("%ksql INSERT INTO o2 SELECT id, price AS p FROM orders;"))


def test_an_insert_cannot_be_assigned(run):
    run(ORDERS)
    with pytest.raises(UsageError, match="nothing to assign to x"):
        run("%%ksql\nx << INSERT INTO orders VALUES (4, 'tea', 1.0);")


def test_print_once_shows_records_whole(run, shell):
    run(ORDERS)
    item = "x" * 200
    run(f"%ksql INSERT INTO orders VALUES (9, '{item}', 1.0);")
    shown = repr(run("%ksql --once PRINT 'orders' FROM BEGINNING;").value)
    assert item in shown and len(shown.splitlines()) == 4
    run("%%ksql --once\nx << PRINT 'orders' FROM BEGINNING;")
    assert len(shell.user_ns["x"]) == 4
