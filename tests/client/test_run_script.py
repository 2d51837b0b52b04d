"""RUN SCRIPT: the client reads the file, whatever is behind the connection."""

import pytest

from kalam_jupyter.client import ClientError

STREAM = "CREATE STREAM a (id INT KEY, v INT) WITH (KAFKA_TOPIC='a', FORMAT='JSON', PARTITIONS=1);"


@pytest.fixture
def script(tmp_path):
    """Write a file; return its path as SQL text."""

    def script(text, name="script.sql"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path).replace("'", "''")

    return script


def test_the_statements_of_the_file_are_run_in_place(connection, script):
    path = script(
        f"SET 'auto.offset.reset'='earliest';\n{STREAM}\nINSERT INTO a VALUES (1, 2);\nSELECT * FROM a;"
    )
    results = connection.ksql(f"RUN SCRIPT '{path}'; SELECT v FROM a WHERE id = 1;")
    assert [r.kind for r in results] == ["entity", "rows", "rows"]
    assert results[2].table.to_pylist() == [{"V": 2}]
    assert connection.session.properties == {"auto.offset.reset": "earliest"}


def test_scripts_run_scripts(connection, script):
    inner = script(STREAM, "inner.sql")
    outer = script(f"RUN SCRIPT '{inner}';")
    assert connection.ksql(f"run script '{outer}'")[0].message == "Stream created"


def test_an_error_tells_the_file_and_its_line(connection, script):
    path = script(f"{STREAM}\n\nSELEC 1;")
    with pytest.raises(ClientError, match=r"script\.sql', line 3: ") as refused:
        connection.ksql(f"RUN SCRIPT '{path}';")
    assert (refused.value.code, refused.value.line) == ("40001", None)


def test_a_file_that_cannot_be_read_is_named(connection, script, tmp_path):
    with pytest.raises(ClientError, match=r"nope\.sql': No such file"):
        connection.ksql(f"RUN SCRIPT '{tmp_path / 'nope.sql'}';")
    path = script("x", "bad.sql")
    (tmp_path / "bad.sql").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ClientError, match="not UTF-8"):
        connection.ksql(f"RUN SCRIPT '{path}';")


def test_a_script_that_runs_itself_ends_with_an_error(connection, script, tmp_path):
    path = script(f"RUN SCRIPT '{tmp_path / 'script.sql'}';")
    with pytest.raises(ClientError, match="without end"):
        connection.ksql(f"RUN SCRIPT '{path}';")
