"""Real ksqlDB clients, as their users install them, against our server: they connect and never know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.clients.conftest import TOKEN, Server

Run = Callable[..., dict[str, Any]]


def created(entities: list[dict[str, Any]]) -> bool:
    """Whether the first entity says that a command succeeded."""
    return bool(entities[0]["commandStatus"]["status"] == "SUCCESS")


def names(entities: list[dict[str, Any]]) -> list[str]:
    """Names in a LIST STREAMS entity."""
    return [s["name"] for s in entities[0]["streams"]]


def test_pypi_ksqldb_streams_over_http2(python_client: Run, open_server: Server) -> None:
    seen = python_client(
        "ksqldb", ["ksqldb==1.0.1", "httpx[http2]<0.28"], "ksqldb_program.py", open_server.ksql
    )
    assert created(seen["create"])
    assert "PY_KSQLDB" in names(seen["list"])
    assert [f["name"] for f in seen["describe"][0]["sourceDescription"]["fields"]] == ["ID", "NOTE"]
    assert seen["properties"] > 10
    assert seen["inserts"] == [{"seq": 0, "status": "ok"}, {"seq": 1, "status": "ok"}]
    header, *rows = seen["push"]["lines"]
    assert header["columnNames"] == ["ID", "NOTE"]
    assert rows == [[1, "a"], [2, "ü"]]
    assert seen["push"]["closed"] is True
    assert seen["close_again"] is False
    assert seen["pull"][1:] == [[1, "a"], [2, "ü"]]
    assert created(seen["drop"])


def test_pypi_ksqldb_client_reads_its_strict_models(python_client: Run, open_server: Server) -> None:
    seen = python_client(
        "ksqldb-client",
        ["ksqldb-client==0.28.2a2", "httpx[http2]<0.28"],
        "ksqldb_client_program.py",
        open_server.ksql,
    )
    assert seen["info"]["ksql_server_info"]["server_status"] == "RUNNING"
    assert seen["create"][0]["command_status"]["message"] == "Stream created"
    assert seen["table"][0]["command_status"]["query_id"].startswith("CTAS_PY_KSQLDB_CLIENT_T_")
    assert seen["list"][0]["streams"][0]["value_format"] == "JSON"
    assert seen["queries"][0]["queries"][0]["sinks"] == ["PY_KSQLDB_CLIENT_T"]
    assert "[1, 1]" in str(seen["pull"])
    assert "'a'" in str(seen["push"])
    assert "Syntax Error" in seen["error"]
    assert "No query with id nobody" in seen["close"]
    assert len(seen["drop"]) == 2


def test_pypi_ksql_python_ng_over_both_http_versions(python_client: Run, open_server: Server) -> None:
    seen = python_client(
        "ksql-python-ng",
        ["ksql-python-ng==0.29.0.1", "httpx[http2]<0.28"],
        "ksql_python_ng_program.py",
        open_server.ksql,
    )
    assert seen["version"].count(".") == 2
    assert created(seen["create"])
    assert "PY_KSQL_NG" in names(seen["list"])
    assert [row["status"] for row in seen["inserts"]] == ["ok", "ok"]
    assert "".join(seen["push1"]).splitlines()[1:] == ['[1,"a"]', '[2,"b"]']
    assert seen["push2"] == [{"ID": 1, "NOTE": "a"}, {"ID": 2, "NOTE": "b"}]
    assert "40001" in seen["error"]
    assert seen["close"] is False
    assert created(seen["drop"])


def test_pypi_ksql_reads_push_queries_line_by_line(python_client: Run, open_server: Server) -> None:
    seen = python_client("ksql", ["ksql==0.10.2"], "ksql_program.py", open_server.ksql)
    assert created(seen["create"])
    assert "PY_KSQL" in names(seen["list"])
    assert [row["status"] for row in seen["inserts"]] == ["ok", "ok"]
    assert seen["push"] == [{"ID": 1, "NOTE": "a"}, {"ID": 2, "NOTE": "b"}]
    assert "Could not find STREAM/TABLE 'NOBODY' in the Metastore" in seen["error"]
    assert seen["close"] is False
    assert created(seen["drop"])


def test_pypi_pyksql_builds_streams_and_reads_them(python_client: Run, open_server: Server) -> None:
    seen = python_client("pyksql", ["pykSQL==0.11.0"], "pyksql_program.py", open_server.ksql)
    assert seen["version"].count(".") == 2
    assert (seen["created"], seen["derived"]) == (True, True)
    assert {"PY_PYKSQL", "PY_PYKSQL_B"} <= set(names(seen["list"]))
    assert seen["push"] == [{"ID": 1, "NOTE": "a"}, {"ID": 2, "NOTE": "ü"}]
    assert seen["lines"][1] == '{"row":{"columns":[2]}},\n'
    assert seen["close"] is False
    assert seen["dropped"] == ["currentStatus"] * 3


def test_pypi_jetblack_is_a_database_driver(python_client: Run, token_server: Server) -> None:
    seen = python_client(
        "jetblack",
        ["jetblack-ksql-dbapi[httpx]==0.2.1"],
        "jetblack_program.py",
        token_server.ksql,
        TOKEN,
        interpreter="python3.12",
    )
    assert (seen["columns"], seen["rows"]) == (["ID", "NOTE"], [[1, "a"], [2, "b"]])
    assert (seen["pull"], seen["printed"]) == ([1, 1], 2)
    assert ["TABLE", "PY_JETBLACK_T", "PY_JETBLACK_T", "KAFKA", "JSON", False] in seen["tables"]
    assert [f[:2] for f in seen["fields"]] == [["ID", "INTEGER"], ["NOTE", "STRING"], ["AMOUNT", "DECIMAL"]]
    assert "Could not find STREAM/TABLE 'NOBODY'" in seen["error"]


def test_npm_ksqldb_client_parses_every_http2_frame(node_client: Run, open_server: Server) -> None:
    seen = node_client("ksqldb_client.js", "http://127.0.0.1", open_server.port)
    assert seen["create"]["status"] == 200
    assert "JS_CLIENT" in [s["name"] for s in seen["streams"]]
    assert seen["describe"]["readQueries"][0]["sinks"] == ["JS_CLIENT_T"]
    assert [i["data"]["rows"] for i in seen["insert"]] == [[{"status": "ok", "seq": 0}]] * 2
    assert seen["pull"]["data"]["rows"] == [{"ID": 1, "N": 1}]
    assert seen["push"]["rows"] == [{"ID": 1, "NOTE": "a"}, {"ID": 2, "NOTE": "b"}]
    assert seen["close"]["status"] == 200
    assert seen["error"]["error"]["error_code"] == 40001
    assert seen["drop"]["status"] == 200


def test_cube_driver_with_basic_credentials(node_client: Run, token_server: Server) -> None:
    seen = node_client("cube_driver.js", token_server.ksql, TOKEN)
    assert seen["schema"]["CUBE"]["COUNTS"] == [
        {"name": "ID", "type": "INTEGER"},
        {"name": "N", "type": "BIGINT"},
    ]
    assert seen["types"] == [{"name": "ID", "type": "int"}, {"name": "N", "type": "bigint"}]
    assert "CUBE-COUNTS" not in seen["after"]
