"""`kalam test script.sql`: statements and what they assert, one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from kalam_server.cli import main

ORDERS = """CREATE STREAM orders (id INT KEY, item STRING, price DOUBLE)
  WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);
"""
COUNTS = f"""{ORDERS}
CREATE TABLE counts AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;
INSERT INTO orders (ROWTIME, id, item, price) VALUES (7, 1, 'tea', 2.5);
"""
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v STRING) WITH (KAFKA_TOPIC='t', FORMAT='JSON', PARTITIONS=1);"


class Script:
    """A script in a folder, and what running it prints."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def run(self, text: str) -> tuple[int, str]:
        path = self.folder / "script.sql"
        path.write_text(text, encoding="utf-8")
        code = main(["test", str(path)])
        out, err = self._capsys.readouterr()
        return code, out + err


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Script:
    return Script(tmp_path, capsys)


def test_a_file_without_directives_is_one_test(script: Script) -> None:
    text = COUNTS + "ASSERT VALUES counts (item, n, ROWTIME) VALUES ('tea', 1, 7);"
    assert script.run(text) == (0, "PASS  script\n")


def test_asserts_read_on_where_the_last_one_stopped(script: Script) -> None:
    text = COUNTS + (
        "ASSERT VALUES counts (n) VALUES (1);"
        "INSERT INTO orders (id, item) VALUES (2, 'tea'); ASSERT VALUES counts (item, n) VALUES ('tea', 2);"
        "INSERT INTO orders (id, item) VALUES (3, 'gum'); ASSERT VALUES counts (item, n) VALUES ('gum', 1);"
        "ASSERT VALUES orders (id, price) VALUES (1, 2.5);"
    )
    assert script.run(text)[0] == 0
    code, out = script.run(text + "ASSERT VALUES counts (n) VALUES (9);")
    assert code == 1 and "Expected another record of COUNTS, but there is none." in out


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("ASSERT VALUES counts (item, n) VALUES ('tea', 2);", "column N: expected 2, got 1"),
        ("ASSERT VALUES counts (item) VALUES (NULL);", "column ITEM: expected None, got 'tea'"),
        ("ASSERT NULL VALUES counts (item) KEY ('tea');", "Expected a tombstone of COUNTS"),
        ("ASSERT NULL VALUES counts (n) KEY (1);", "takes key columns only: N"),
        ("ASSERT VALUES nope (n) VALUES (1);", "Source NOPE does not exist"),
        ("ASSERT VALUES counts (nope) VALUES (1);", "Column name `NOPE` does not exist"),
        ("SELECT * FROM counts;", "have no place in a test"),
    ],
)
def test_an_assertion_that_does_not_hold_fails_with_its_line(
    script: Script, statement: str, told: str
) -> None:
    code, out = script.run(COUNTS + statement)
    assert code == 1
    assert out.startswith("FAIL  script\n      line 6: ") and told in out


def test_a_tombstone_has_exactly_its_key(script: Script) -> None:
    text = (
        f"{TABLE} CREATE TABLE u AS SELECT id, v FROM t WHERE v <> 'x';"
        "INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (1, 'x');"
        "ASSERT VALUES u (id, v) VALUES (1, 'a');"
    )
    assert script.run(text + "ASSERT NULL VALUES u (id) KEY (1);")[0] == 0
    assert script.run(text + "ASSERT NULL VALUES u KEY (1);")[0] == 0
    assert "Expected key does not match" in script.run(text + "ASSERT NULL VALUES u (id) KEY (2);")[1]
    assert "the record is a tombstone" in script.run(text + "ASSERT VALUES u (v) VALUES ('x');")[1]


DECLARED = (
    "(item STRING PRIMARY KEY, n BIGINT) WITH (KAFKA_TOPIC='COUNTS', KEY_FORMAT='KAFKA', VALUE_FORMAT='JSON')"
)
STREAM = "(item STRING KEY, n BIGINT) WITH (KAFKA_TOPIC='COUNTS', VALUE_FORMAT='JSON')"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (f"ASSERT TABLE counts {DECLARED};", None),
        (
            f"ASSERT STREAM counts {STREAM};",
            "type",
        ),
        (f"ASSERT TABLE counts {DECLARED.replace('BIGINT', 'INT')};", "schema"),
        (f"ASSERT TABLE counts {DECLARED.replace('COUNTS', 'other')};", "Kafka topic"),
        (f"ASSERT TABLE counts {DECLARED.replace('JSON', 'DELIMITED')};", "value format"),
        (
            f"ASSERT TABLE counts {DECLARED.replace('KEY_FORMAT', 'FORMAT')};".replace(
                "'KAFKA', VALUE_FORMAT='JSON'", "'JSON'"
            ),
            "key format",
        ),
        (f"ASSERT TABLE counts {DECLARED[:-1]}, TIMESTAMP='n');", "timestamp column"),
        (f"ASSERT TABLE counts {DECLARED[:-1]}, WRAP_SINGLE_VALUE=false);", "value wrapping"),
    ],
)
def test_a_declaration_is_compared_property_by_property(
    script: Script, statement: str, told: str | None
) -> None:
    code, out = script.run(COUNTS + statement)
    if told is None:
        assert code == 0, out
    else:
        assert code == 1 and f"Expected {told} does not match actual for source COUNTS." in out


def test_each_test_has_an_engine_of_its_own(script: Script) -> None:
    code, out = script.run(
        f"-- notes\n--@test: one\n{COUNTS}\n--@test: two\n{COUNTS}ASSERT VALUES counts (n) VALUES (2);"
    )
    assert code == 1
    assert out.startswith("PASS  one\nFAIL  two\n      line 15: ") and out.endswith("1 of 2 tests passed\n")


@pytest.mark.parametrize(
    ("directives", "code", "told"),
    [
        ("--@expected.error: io.confluent.ksql.util.KsqlException\n--@expected.message: NOPE", 0, "PASS  t"),
        ("--@expected.message: other", 1, "expected the message 'other', got: line "),
        ("--@expected.error: java.lang.AssertionError", 1, "expected AssertionError, got: line "),
        ("--@expected.error: NoSuchException", 1, "unknown error NoSuchException"),
        ("--@expect: x", 1, "unknown directive @expect"),
        ("--@expected.error: KsqlException\n--@expected.error: KsqlException", 1, "a second @expected.error"),
    ],
)
def test_expected_errors(script: Script, directives: str, code: int, told: str) -> None:
    found, out = script.run(f"--@test: t\n{directives}\n{ORDERS}CREATE STREAM s AS SELECT nope FROM orders;")
    assert (found, told in out) == (code, True), out


def test_an_expected_error_that_does_not_come_fails(script: Script) -> None:
    code, out = script.run(f"--@test: t\n--@expected.error: KsqlException\n{ORDERS}")
    assert code == 1 and "no error; expected KsqlException" in out


def test_an_assertion_may_be_expected_to_fail(script: Script) -> None:
    expected = "--@test: t\n--@expected.error: java.lang.AssertionError\n"
    text = f"{expected}{COUNTS}ASSERT VALUES counts (n) VALUES (5);"
    assert script.run(text)[0] == 0


def test_a_query_that_is_replaced_goes_on(script: Script) -> None:
    text = (
        f"{ORDERS} CREATE STREAM dear AS SELECT id, item FROM orders WHERE price > 10;"
        "INSERT INTO orders VALUES (1, 'tea', 5.0);"
        "CREATE OR REPLACE STREAM dear AS SELECT id, item FROM orders WHERE price > 1;"
        "INSERT INTO orders VALUES (2, 'gum', 5.0);"
        "ASSERT VALUES dear (id, item) VALUES (2, 'gum');"
    )
    assert script.run(text) == (0, "PASS  script\n")


def test_settings_and_variables_last_through_the_test(script: Script) -> None:
    text = (
        "DEFINE place = 'orders';"
        + ORDERS.replace("'orders'", "'${place}'")
        + "INSERT INTO orders VALUES (1, 'a', 1.0);"
        "SET 'auto.offset.reset' = 'latest'; CREATE STREAM late AS SELECT * FROM orders;"
        "UNSET 'auto.offset.reset'; CREATE STREAM early AS SELECT * FROM orders;"
        "INSERT INTO orders VALUES (2, 'b', 1.0);"
        "ASSERT VALUES late (id) VALUES (2); ASSERT VALUES early (id) VALUES (1);"
    )
    assert script.run(text) == (0, "PASS  script\n")


def test_other_scripts_can_be_run(script: Script) -> None:
    (script.folder / "orders.sql").write_text(COUNTS, encoding="utf-8")
    assert script.run("RUN SCRIPT 'orders.sql'; ASSERT VALUES counts (n) VALUES (1);")[0] == 0
    assert "No such file" in script.run("RUN SCRIPT 'nope.sql';")[1]
    assert "without end" in script.run("RUN SCRIPT 'script.sql';")[1]


def test_syntax_errors_have_their_place_in_the_file(script: Script) -> None:
    code, out = script.run(f"--@test: a\n{ORDERS}--@test: b\nCREATE STREM x;")
    assert code == 1 and "line 5:8" in out


def test_statements_before_the_first_test_are_refused(script: Script) -> None:
    code, out = script.run(f"{ORDERS}--@test: a\n")
    assert code == 1 and "statements stand before the first --@test" in out
