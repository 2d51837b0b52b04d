from __future__ import annotations

import itertools
import re
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import kalam_jupyter
from kalam_jupyter.client import ClientError
from kalam_jupyter.magics.errors import SqlError, UsageError
from kalam_jupyter.widgets import LiveTable, live_widgets

WAIT_S = 30
ORDERS = """%%ksql
CREATE STREAM orders (id INT KEY, item STRING, price DOUBLE)
  WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE revenue AS SELECT item, COUNT(*) AS n, SUM(price) AS total FROM orders GROUP BY item;
INSERT INTO orders VALUES (1, 'tea', 2.5);
INSERT INTO orders VALUES (2, 'tea', 3.5);
INSERT INTO orders VALUES (3, 'milk', 1.0);
"""


def message_of(error: SqlError) -> str:
    return re.sub(r"\x1b\[\d+m", "", "\n".join(error._render_traceback_()))


def test_statements_of_a_cell_are_shown_in_order(run):
    assert str(run(ORDERS)).splitlines()[0] == "Stream created"
    cell = run(
        "%%ksql\nSELECT * FROM revenue WHERE item = 'tea';\nSELECT * FROM revenue WHERE item = 'milk';"
    )
    assert "6.0" in cell.shown[0].data["text/plain"]
    assert cell.value.to_dict("records") == [{"ITEM": "milk", "N": 1, "TOTAL": 1.0}]


def test_rows_are_arrow_backed_frames(run):
    run(ORDERS)
    frame = run("%ksql SELECT id, price FROM orders;").value
    assert isinstance(frame, pd.DataFrame)
    assert sorted(frame.PRICE) == [1.0, 2.5, 3.5]
    assert str(frame.dtypes["PRICE"]) == "double[pyarrow]"


def test_a_result_is_assigned(run, shell):
    run(ORDERS)
    cell = run("%%ksql\nx << SELECT * FROM revenue;")
    assert shell.user_ns["x"].shape == (2, 3)
    assert repr(cell.value) == "x: 2 rows × 3 columns"


def test_a_statement_without_rows_cannot_be_assigned(run):
    with pytest.raises(UsageError, match="nothing to assign to x"):
        run("%%ksql\nx << CREATE STREAM s (a INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);")


def test_python_values_are_bound(run, shell):
    run(ORDERS)
    shell.user_ns["wanted"] = "te' OR 'a'='a"
    assert len(run("%ksql SELECT * FROM revenue WHERE item = :wanted;").value) == 0
    shell.user_ns["wanted"] = "tea"
    assert run("%ksql SELECT * FROM revenue WHERE item = :wanted;").value.N.tolist() == [2]


def test_admin_statements_are_tables(run):
    run(ORDERS)
    assert run("%ksql LIST STREAMS;").value.to_dict("records") == [
        {"Name": "ORDERS", "Topic": "orders", "Key format": "KAFKA", "Value format": "JSON"}
    ]
    described = run("%ksql DESCRIBE orders;")
    assert described.value["Column"].tolist() == ["ID", "ITEM", "PRICE"]
    assert "stream on topic 'orders'" in described.shown[0].data["text/plain"]


def test_listings_leave_nothing_out(run):
    functions = run("%ksql LIST FUNCTIONS;").value
    assert len(functions) > 100
    assert "ARRAY_UNION" in repr(functions) and "ARRAY_UNION" in functions._repr_html_()
    run(ORDERS)
    statement = run("%ksql LIST QUERIES;").value.Statement[0]
    assert len(statement) > 60 and statement in repr(run("%ksql queries").value)
    run("%%ksql\nCREATE TABLE lines AS SELECT item,\n  COUNT(*) AS n\nFROM orders GROUP BY item;")
    queries = run("%ksql LIST QUERIES;").value
    assert "SELECT item, COUNT(*) AS n FROM" in repr(queries) and "\\n" not in queries._repr_html_()
    assert any("\n" in statement for statement in queries.Statement)


def test_a_push_query_is_a_live_table_that_keeps_filling(run):
    run(ORDERS)
    table = run("%%ksql --earliest\nSELECT * FROM orders EMIT CHANGES;").value
    assert isinstance(table, LiveTable) and table in live_widgets()
    assert table.wait(rows=3, timeout=WAIT_S)
    run("%ksql INSERT INTO orders VALUES (4, 'tea', 1.0);")
    assert table.wait(rows=4, timeout=WAIT_S)
    assert table.frame().ID.tolist() == [1, 2, 3, 4]
    assert repr(run("%ksql stop all").value) == "Stopped 1 live table."
    assert table.status == "stopped"


@pytest.fixture
def cell(shell, monkeypatch):
    """Call it when the cell runs, again."""
    parent: dict[str, Any] = {"metadata": {"cellId": "cell-1"}, "header": {"msg_id": "0"}}
    monkeypatch.setattr(shell, "kernel", SimpleNamespace(get_parent=lambda: parent), raising=False)
    runs = itertools.count(1)
    return lambda: parent["header"].update(msg_id=str(next(runs)))


def test_a_cell_that_runs_again_replaces_its_live_table(run, cell):
    run(ORDERS)
    cell()
    first = run("%%ksql\nSELECT * FROM orders EMIT CHANGES;").value
    cell()
    second = run("%%ksql\nSELECT * FROM orders EMIT CHANGES;").value
    assert first.status == "stopped" and live_widgets() == [second]


def test_two_lines_of_one_cell_show_two_live_widgets(run, cell):
    run(ORDERS)
    cell()
    run("%ksql SELECT * FROM orders EMIT CHANGES;\n%ksql SELECT * FROM orders EMIT CHANGES;")
    run("%ksql SELECT * FROM orders EMIT CHANGES;")
    assert len(live_widgets()) == 3


def test_rows_of_a_stream_with_equal_keys_do_not_replace_each_other(run):
    run(ORDERS)
    run("%ksql INSERT INTO orders VALUES (1, 'tea', 9.0);")
    table = run("%%ksql --earliest\nSELECT * FROM orders EMIT CHANGES;").value
    assert table.wait(rows=4, timeout=WAIT_S)
    assert table.frame().ID.tolist() == [1, 2, 3, 1]


def test_a_live_table_of_a_table_shows_each_key_once(run):
    run(ORDERS)
    table = run("%%ksql --earliest --sort n:desc\nSELECT * FROM revenue EMIT CHANGES;").value
    assert table.wait(rows=3, timeout=WAIT_S)
    run("%ksql INSERT INTO orders VALUES (5, 'milk', 1.0);")
    assert table.wait(rows=4, timeout=WAIT_S)
    assert sorted(zip(table.frame().ITEM, table.frame().N, strict=True)) == [("milk", 2), ("tea", 2)]


def test_a_push_query_with_a_limit_finishes(run):
    run(ORDERS)
    table = run("%%ksql --live --earliest --limit 2\nSELECT * FROM orders;").value
    assert table.wait(timeout=WAIT_S)
    assert (table.status, table.stats.rows_in) == ("finished", 2)


def test_an_error_points_at_the_token_and_suggests(run):
    run(ORDERS)
    with pytest.raises(SqlError) as caught:
        run("%%ksql\nLIST STREAMS;\nSELECT * FROM ordrs EMIT CHANGES;")
    lines = message_of(caught.value).splitlines()
    assert lines[0].startswith("ksqlDB error at line 3, column 15")
    assert lines[2:4] == ["   3 │ SELECT * FROM ordrs EMIT CHANGES;", "     │               ^^^^^"]
    assert "ORDERS" in lines[-1]


def test_no_function_is_suggested_for_an_unknown_statement(run):
    with pytest.raises(SqlError) as caught:
        run("%ksql UPDATE orders SET price = 1;")
    assert "Did you mean" not in message_of(caught.value)


def test_a_syntax_error_runs_nothing(run):
    with pytest.raises(SqlError) as caught:
        run(
            "%%ksql\nCREATE STREAM a (x INT) WITH (KAFKA_TOPIC='a', VALUE_FORMAT='JSON', PARTITIONS=1);\n"
            "CREAT x;"
        )
    assert (caught.value.line, caught.value.column) == (3, 1)
    assert repr(run("%ksql LIST STREAMS;").value) == "No streams."


def test_an_error_behind_a_parameter_points_into_the_cell_as_written(run, shell):
    run(ORDERS)
    shell.user_ns["a_long_name"] = 1
    with pytest.raises(SqlError) as caught:
        run("%%ksql\nSELECT :a_long_name AS a, nope FROM orders;")
    assert caught.value.token == "nope"


def test_kalam_statements_and_queries(run):
    run(
        "%%kalam\nCREATE NAMESPACE shop;\n"
        "CREATE TABLE shop.items (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED');\n"
        "INSERT INTO shop.items (id, name) VALUES (1, 'tea'), (2, 'milk');"
    )
    assert run("%kalam SELECT name FROM shop.items ORDER BY id").value.name.tolist() == ["tea", "milk"]
    frame = run("%%kalam --params [2]\nSELECT name FROM shop.items WHERE id = $1").value
    assert frame.name.tolist() == ["milk"]
    assert len(run("%kalam --namespace shop SELECT * FROM items").value) == 2


def test_rows_inserted_in_a_cell_are_told_before_the_rows_it_ends_with(run):
    run("%kalam CREATE TABLE n (id BIGINT PRIMARY KEY)")
    cell = run(
        "%%kalam\nINSERT INTO n VALUES (1);\nSELECT id FROM n;\nINSERT INTO n VALUES (2);\nSELECT id FROM n;"
    )
    assert [repr(shown) for shown in cell.value["id"]] == ["1", "2"]
    assert "Inserted 2 row(s)" in str(cell)


def test_a_whole_kalam_result_reaches_the_notebook(run):
    run("%%kalam\nCREATE NAMESPACE shop;\nCREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED');")
    values = ", ".join(f"({i})" for i in range(120))
    run(f"%%kalam\nINSERT INTO shop.t (id) VALUES {values};")
    assert len(run("%kalam SELECT id FROM shop.t").value) == 120
    assert len(run("%kalam --limit 7 SELECT id FROM shop.t").value) == 7


@pytest.mark.parametrize(
    "cell", ["%%kalam --live\nSELECT id, name FROM shop.t", "%%kalam\nSUBSCRIBE TO shop.t;"]
)
def test_a_live_query_shows_changes(run, cell):
    run(
        "%%kalam\nCREATE NAMESPACE shop;\n"
        "CREATE TABLE shop.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED');\n"
        "INSERT INTO shop.t (id, name) VALUES (1, 'tea');"
    )
    table = run(cell).value
    assert table.wait(rows=1, timeout=WAIT_S)
    run(
        "%%kalam\nINSERT INTO shop.t (id, name) VALUES (2, 'milk');\n"
        "UPDATE shop.t SET name = 'mate' WHERE id = 1;"
    )
    assert table.wait(rows=3, timeout=WAIT_S)
    assert sorted(zip(table.frame().id, table.frame().name, strict=True)) == [(1, "mate"), (2, "milk")]
    run("%kalam DELETE FROM shop.t WHERE id = 2")
    assert table.wait(rows=4, timeout=WAIT_S)
    assert table.frame().id.tolist() == [1]


def test_kalam_errors_point_at_the_name(run):
    with pytest.raises(SqlError) as caught:
        run("%%kalam\nSELECT *\nFROM nowhere.nothing")
    assert caught.value.line == 3 and message_of(caught.value).startswith("KalamDB error")


def test_each_dialect_sees_the_other(run):
    run(ORDERS)
    assert run("%kalam SELECT total FROM ksql.revenue WHERE item = 'tea'").value.total.tolist() == [6.0]


def test_a_frame_becomes_a_stream_and_comes_back(run):
    run("%ksql LIST STREAMS;")
    frame = pd.DataFrame({"id": [2, 1], "name": ["b", "a"], "at": pd.to_datetime([2_000, 1_000], unit="ms")})
    replay = frame.kalam.to_stream("things", key="id", timestamp="at")
    assert replay.done and replay.sent == 2
    assert kalam_jupyter.frame("things").NAME.tolist() == ["a", "b"]


def test_errors_of_plain_python_calls_have_no_traceback_either(run):
    run("%ksql LIST STREAMS;")
    with pytest.raises(ClientError) as caught:
        kalam_jupyter.frame("nowhere")
    (line,) = caught.value._render_traceback_()
    assert line.startswith("ClientError [") and "nowhere" in line.lower()


def test_a_paced_replay_sends_every_row(run):
    run("%ksql LIST STREAMS;")
    replay = pd.DataFrame({"n": range(50)}).kalam.to_stream("paced", rate=1_000)
    assert replay.wait(WAIT_S)
    assert sorted(kalam_jupyter.frame("paced").N) == list(range(50))


def test_status_queries_and_connections_are_listed(run):
    run(ORDERS)
    assert run("%ksql status").value.loc["ksqlDB streams", "value"] == "1"
    table = run("%ksql SELECT * FROM orders EMIT CHANGES;").value
    queries = run("%ksql queries").value
    assert table.stream.id in queries["Query"].tolist()
    assert run("%kalam connections").value["Name"].tolist() == ["default"]


def test_a_second_connection_is_used_by_name(run):
    run(ORDERS)
    assert "Connected to embedded as 'other'" in repr(run("%ksql connect :memory: --name other").value)
    run("%ksql use default")
    assert run("%ksql LIST STREAMS;").value["Name"].tolist() == ["ORDERS"]
    with pytest.raises(UsageError, match=r"no connection 'othr'\. Did you mean other"):
        run("%ksql use othr")


def test_secrets_do_not_belong_into_cells(run):
    with pytest.raises(UsageError, match="--token-env NAME"):
        run("%ksql connect http://localhost:1 --token abc")


def test_the_clock_is_set_and_advanced(run):
    assert "2013-01-01 05:00:00.000 UTC (set by hand)" in repr(run("%kalam clock set 2013-01-01T05:00").value)
    assert "05:00:10.000" in repr(run("%kalam clock advance 10s").value)
    assert "the system" in repr(run("%kalam clock real").value)


def test_use_namespace_is_sql_not_a_subcommand(run):
    run("%kalam CREATE NAMESPACE shop")
    run("%kalam USE NAMESPACE shop")


def test_help_is_what_a_question_mark_shows(shell):
    assert "--plot [KIND]" in shell.inspector.info(shell.find_cell_magic("ksql"))["docstring"]


def test_help_is_shown(run):
    text = repr(run("%ksql help").value)
    assert "--earliest" in text and "connect [URL" in text


def test_a_misspelt_command_is_told_the_near_one(run):
    with pytest.raises(SqlError) as caught:
        run("%ksql conect embedded")
    assert message_of(caught.value).endswith("Did you mean connect?")


def complete(shell, text: str) -> list[str]:
    """Completions at the ``|``."""
    return [c.text for c in shell.Completer.completions(text.replace("|", ""), text.index("|"))]


def test_completion_knows_sources_columns_and_keywords(run, shell):
    from IPython.core.completer import provisionalcompleter

    run(ORDERS)
    with provisionalcompleter():
        assert "ORDERS" in complete(shell, "%%ksql\nSELECT * FROM ord|")
        assert "PRICE" in complete(shell, "%%ksql\nSELECT pr| FROM orders;")
        assert "GROUP BY" in complete(shell, "%%ksql\nSELECT COUNT(*) FROM orders GRO|")
        assert "--earliest" in complete(shell, "%%ksql --ea|")
        assert "stop" in complete(shell, "%ksql sto|")
        assert complete(shell, "%%ksql --plot ba|") == ["bar"]
        assert "select" in complete(shell, "%%kalam\nsel|")
        assert complete(shell, "orders = 1; ord|") != ["ORDERS"]


def test_unloading_takes_everything_away(shell, run):
    run(ORDERS)
    table = run("%ksql SELECT * FROM orders EMIT CHANGES;").value
    kalam_jupyter.unload_ipython_extension(shell)
    assert table.ended and not live_widgets()
    assert "ksql" not in shell.magics_manager.magics["cell"]
    kalam_jupyter.load_ipython_extension(shell)
