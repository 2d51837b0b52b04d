"""`kalam test -s -i -o`: what passes, what is told when something differs, and bad files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kalam_server.cli import main

STATEMENTS = """
CREATE STREAM orders (id INT KEY, item STRING, price DECIMAL(6, 2))
  WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE STREAM dear AS SELECT id, item, price * 2 AS twice FROM orders WHERE price > 1;
CREATE TABLE counts AS SELECT item, COUNT(*) AS n FROM dear GROUP BY item;
"""
INPUTS = [
    {"topic": "orders", "key": 1, "value": {"item": "tea", "price": 2.50}, "timestamp": 10},
    {"topic": "orders", "key": 2, "value": {"item": "gum", "price": 0.5}, "timestamp": 11},
    {"topic": "orders", "key": 3, "value": {"item": "tea", "price": 3}, "timestamp": 12},
]
OUTPUTS = [
    {"topic": "DEAR", "key": 1, "value": {"ITEM": "tea", "TWICE": 5.00}, "timestamp": 10},
    {"topic": "DEAR", "key": 3, "value": {"ITEM": "tea", "TWICE": 6.00}},
    {"topic": "COUNTS", "key": "tea", "value": {"N": 1}},
    {"topic": "COUNTS", "key": "tea", "value": {"N": 2}, "timestamp": 12},
]


class Test:
    """The files of a test, in a folder, and what running them prints."""

    __test__ = False

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.write("s.sql", STATEMENTS)
        self.write("i.json", json.dumps({"inputs": INPUTS}))
        self.write("o.json", json.dumps({"outputs": OUTPUTS}))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, *more: str, inputs: bool = True) -> tuple[int, str, str]:
        given = ["-i", str(self.folder / "i.json")] if inputs else []
        code = main(
            ["test", "-s", str(self.folder / "s.sql"), *given, "-o", str(self.folder / "o.json"), *more]
        )
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Test:
    return Test(tmp_path, capsys)


def changed(index: int, **members: Any) -> str:
    return json.dumps({"outputs": [r | members if i == index else r for i, r in enumerate(OUTPUTS)]})


def test_a_test_that_holds_passes(test: Test) -> None:
    code, out, err = test.run()
    assert (code, err) == (0, "")
    assert out.startswith("PASS") and out.endswith("4 records in 2 topics\n")


@pytest.mark.parametrize(
    ("index", "members", "told"),
    [
        (
            0,
            {"value": {"ITEM": "tea", "TWICE": 5.01}},
            "DEAR, record 1: value.TWICE: expected 5.01, got 5.00",
        ),
        (1, {"key": 4}, "DEAR, record 2: key: expected 4, got 3"),
        (3, {"timestamp": 13}, "COUNTS, record 2: timestamp: expected 13, got 12"),
        (2, {"window": {"start": 0, "end": 5, "type": "TIME"}}, "COUNTS, record 1: window:"),
        (2, {"headers": [{"KEY": "a", "VALUE": "AA=="}]}, "COUNTS, record 1: headers:"),
        (3, {"topic": "NOPE"}, "topic NOPE does not exist"),
    ],
)
def test_what_differs_first_is_told(test: Test, index: int, members: Any, told: str) -> None:
    test.write("o.json", changed(index, **members))
    code, out, _ = test.run()
    assert code == 1
    assert out.startswith("FAIL") and told in out


def test_each_topic_tells_its_first_difference_with_both_records(test: Test) -> None:
    wrong = [r | {"timestamp": 99} for r in OUTPUTS]
    test.write("o.json", json.dumps({"outputs": wrong}))
    code, out, _ = test.run()
    assert code == 1
    assert out.count("record 1: timestamp: expected 99") == 2
    assert '  expected  {"key":1,"value":{"ITEM":"tea","TWICE":5.0},"timestamp":99}' in out
    assert '  actual    {"key":1,"value":{"ITEM":"tea","TWICE":5.00},"timestamp":10}' in out


def test_missing_and_surplus_records_are_told(test: Test) -> None:
    test.write("o.json", json.dumps({"outputs": OUTPUTS[:1]}))
    _, out, _ = test.run()
    assert "DEAR, record 2: expected 1 records, got 2\n  expected  no record\n  actual    {" in out
    test.write("o.json", json.dumps({"outputs": [*OUTPUTS, OUTPUTS[-1]]}))
    _, out, _ = test.run()
    assert "COUNTS, record 3: expected 3 records, got 2\n  expected  {" in out
    assert out.rstrip().endswith("actual    no record")


def test_inserts_can_stand_for_input_records(test: Test) -> None:
    rows = "INSERT INTO orders (ROWTIME, id, item, price) VALUES "
    test.write("s.sql", STATEMENTS + f"{rows} (10, 1, 'tea', 2.5); {rows} (12, 3, 'tea', 3.0);")
    assert test.run(inputs=False)[0] == 0


def test_functions_of_an_extension_can_be_called(test: Test) -> None:
    test.write(
        "e.py",
        "import kalam_jupyter\n@kalam_jupyter.udf('tripled(x INT) -> INT')\ndef tripled(x): return 3 * x\n",
    )
    test.write("s.sql", STATEMENTS + "CREATE STREAM t AS SELECT id, tripled(id) AS x FROM orders;")
    test.write(
        "o.json",
        json.dumps({"outputs": [{"topic": "T", "key": i, "value": {"X": 3 * i}} for i in (1, 2, 3)]}),
    )
    assert test.run("-e", str(test.folder / "e.py"))[0] == 0
    test.write("e.py", "raise ValueError('no')")
    code, _, err = test.run("-e", str(test.folder / "e.py"))
    assert (code, err) == (1, f"kalam test: {test.folder / 'e.py'}: ValueError: no\n")


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        ("CREATE STREAM s AS\nSELEC * FROM x;", "line 2:1"),
        (STATEMENTS + "CREATE STREAM x AS SELECT nope FROM orders;", "NOPE"),
        (
            "CREATE STREAM orders (id INT KEY) WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON');",
            "no persistent query",
        ),
    ],
)
def test_a_statement_that_fails_fails_the_test(test: Test, statements: str, told: str) -> None:
    test.write("s.sql", statements)
    code, out, _ = test.run()
    assert code == 1
    assert out.startswith("FAIL") and told in out


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("i.json", "{", "not JSON"),
        ("i.json", "[]", 'expected {"inputs": [..]}'),
        ("o.json", '{"outputs": []}', 'expected {"outputs": [..]}'),
        ("i.json", '{"inputs": [1]}', "inputs[0] must be an object"),
        ("i.json", '{"inputs": [{"topic": "orders"}]}', "inputs[0] needs a `value`"),
        ("i.json", '{"inputs": [{"value": 1}]}', "inputs[0] needs a `topic`"),
        ("i.json", '{"inputs": [{"topic": "a", "value": 1, "timestamp": "x"}]}', "`timestamp` must be"),
        ("o.json", '{"outputs": [{"topic": "a", "value": 1, "window": {"start": 1}}]}', "`window` must be"),
        (
            "o.json",
            '{"outputs": [{"topic": "a", "value": 1, "headers": [{"KEY": "a", "VALUE": "?"}]}]}',
            "`headers` must",
        ),
    ],
)
def test_a_bad_file_is_one_clear_line(test: Test, name: str, text: str, told: str) -> None:
    test.write(name, text)
    code, out, err = test.run()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"kalam test: {test.folder / name}: ") and told in err


def test_a_file_that_is_not_there_is_named(test: Test) -> None:
    (test.folder / "s.sql").unlink()
    assert test.run() == (1, "", f"kalam test: {test.folder / 's.sql'}: No such file or directory\n")


def test_arguments_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test"]) == 1
    assert main(["test", "a.sql", "-s", "b.sql"]) == 1
    assert "a script stands alone" in capsys.readouterr().err


@pytest.mark.parametrize("format_", ["AVRO", "PROTOBUF", "JSON_SR", "PROTOBUF_NOSR"])
@pytest.mark.parametrize("value", [{"item": "tea", "price": "x"}, 7, {"item": ["tea"]}])
def test_a_record_that_does_not_fit_its_format_fails_without_a_traceback(
    test: Test, format_: str, value: Any
) -> None:
    test.write("s.sql", STATEMENTS.replace("'JSON'", f"'{format_}'"))
    test.write("i.json", json.dumps({"inputs": [{"topic": "orders", "key": 1, "value": value}]}))
    code, out, err = test.run()
    assert (code, err) == (1, "")
    assert out.startswith("FAIL")


@pytest.mark.parametrize("format_", ["AVRO", "PROTOBUF", "JSON_SR", "PROTOBUF_NOSR"])
def test_formats_with_schemas_are_written_and_read(test: Test, format_: str) -> None:
    test.write("s.sql", STATEMENTS.replace("'JSON'", f"'{format_}'"))
    assert test.run()[0] == 0
