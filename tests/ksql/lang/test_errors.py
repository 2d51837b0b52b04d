"""What is said about text that is no statement, and where."""

from __future__ import annotations

import pytest

from kalam_jupyter.ksql.errors import KsqlError, ParseError, StatementError
from kalam_jupyter.ksql.lang import parse_expression, parse_script, parse_statement, parse_type

WITH = "WITH (kafka_topic='input',value_format='JSON');"

SYNTAX_ERRORS = [
    ("SELECTT * FROM s;", "line 1:1: Syntax Error\nUnknown statement 'SELECTT'\nDid you mean 'SELECT'?"),
    ("UPDATE s SET a = 1;", "line 1:1: Syntax Error\nUnknown statement 'UPDATE'"),
    ("RUN SCRIPT 'a.sql';", "line 1:1: Syntax Error\nUnknown statement 'RUN'"),
    ("ASSERT VALUES foo (id INT) VALUES (123);", "Syntax error at or near 'VALUES' at line 1:8"),
    ("SELECT CAST(a AS NULL) FROM s;", "Syntax error at or near 'NULL' at line 1:18"),
    (
        "SELECT size FROM s;",
        "Syntax error at or near 'size' at line 1:8\nTo use a reserved word as a name, quote",
    ),
    ("SELECT a, FROM s;", "line 1:11: Syntax Error\nSyntax error at or near 'FROM' at line 1:11"),
    (
        f"CREATE STREAM INPUT (K DOUBLE (KEY)) {WITH}",
        "line 1:32: Syntax Error\nExpecting {'STRING', INTEGER_VALUE}",
    ),
    (
        f"CREATE STREAM INPUT (K VARCHAR(STRING) (KEY)) {WITH}",
        "line 1:40: Syntax Error\nExpecting {',', ')'}",
    ),
    (f"CREATE STREAM INPUT (K INT, V NULL) {WITH}", "line 1:31: Syntax Error\n"),
    (
        "CREATE TABLE OUTPUT AS SELECT f1, f2, COUNT(*) FROM TEST GROUP BY f3, (f2, f1);",
        "line 1:74: Syntax Error\nmissing ')' at ','",
    ),
    ("SELECT a) FROM s;", "line 1:9: Syntax Error\nextraneous input ')' expecting 'FROM'"),
    ("SELECT (a FROM s;", "line 1:11: Syntax Error\nmissing ')' at 'FROM'"),
    ("SELECT a FROM s", "line 1:16: Syntax Error\nmissing ';' at '<EOF>'"),
    ("SELECT * FROM s LIMIT heh;", "line 1:23: Syntax Error\n"),
    ("SELECT * FROM s WHERE a IN ();", "line 1:29: Syntax Error\n"),
    ("SELECT * FROM s WHERE a = b = c;", "line 1:29: Syntax Error\n"),
    ("SELECT COUNT(*) FROM s GROUP BY a AND b;", "line 1:35: Syntax Error\n"),
    ("SELECT * FROM s PARTITION BY a = b;", "line 1:32: Syntax Error\n"),
    ("SELECT * FROM EXPLODE(a);", "line 1:22: Syntax Error\n"),
    ("SELECT * FROM (SELECT a FROM b);", "line 1:15: Syntax Error\n"),
    ("SELECT * FROM a UNION SELECT * FROM b;", "line 1:23: Syntax Error\n"),
    ("SELECT DISTINCT a FROM s;", "Syntax error at or near 'DISTINCT' at line 1:8"),
    ("SELECT a FROM s WHER a = 1;", "line 1:22: Syntax Error\nDid you mean 'WHERE'?"),
    ("SELECT a FROM s EMIT CHANGE;", "line 1:22: Syntax Error\nDid you mean 'CHANGES'?"),
    ("SELECT * FROM", "line 1:14: Syntax Error\nThe statement ends where the name of a stream or table is"),
    ("SELECT a FROM s LIMIT;", "line 1:22: Syntax Error\nThe statement ends where a number is expected"),
    ("DROP;", "line 1:5: Syntax Error\nThe statement ends where one of STREAM, TABLE, CONNECTOR, TYPE is"),
    ("SELECT a FROM s GROUP BY a WHERE a = 1;", "line 1:28: Syntax Error\n'WHERE' cannot stand here. "),
    ("CREATE STREAM o AS SELECT a FROM s WITH (FORMAT='JSON');", "WITH (..) comes before AS SELECT."),
    ("SELECT a FROM s JOIN t;", "line 1:23: Syntax Error\nExpecting {'ON'}"),
    ("SELECT f(x => x) FROM s;", "line 1:15: Syntax Error\nA lambda cannot be the first argument"),
    ("SELECT f(a, x => x, b) FROM s;", "line 1:21: Syntax Error\nOnly a lambda can follow a lambda"),
    ("SELECT a FROM s WINDOW TUMBLING (SIZE 5 SECONS);", "Did you mean 'SECONDS'?"),
    ("CREATE STREM s;", "line 1:8: Syntax Error\nDid you mean 'STREAM'?"),
    ("SHOW STREEMS;", "line 1:6: Syntax Error\nDid you mean 'STREAMS'?"),
    ("SET a = 'b';", "line 1:5: Syntax Error\nExpecting {STRING}"),
    ("SELECT 'abc FROM s;", "line 1:8: Syntax Error\nUnterminated string: the closing ' is missing"),
    ("SELECT `abc FROM s;", "line 1:8: Syntax Error\nUnterminated identifier: the closing ` is missing"),
    ("SELECT a /* b FROM s;", "line 1:10: Syntax Error\nUnterminated comment: the closing */ is missing"),
    ("SELECT a # b FROM s;", "line 1:10: Syntax Error\nUnrecognized character '#'"),
    ("SELECT " + "(" * 200 + "1" + ")" * 200 + " FROM s;", "Nested too deeply"),
    ("SELECT " + "1+" * 400 + "1 FROM s;", "Nested too deeply"),
    ("SELECT " + "f(" * 150 + "1" + ")" * 150 + " FROM s;", "Nested too deeply"),
    ("SELECT " + "- " * 900 + "a FROM s;", "Nested too deeply"),
    ("SELECT " + "NOT " * 900 + "a FROM s;", "Nested too deeply"),
    ("SELECT CAST(a AS " + "ARRAY<" * 300 + "INT" + ">" * 300 + ") FROM s;", "Nested too deeply"),
    ("SELECT CAST(a AS INT" + " ARRAY" * 3000 + ") FROM s;", "Nested too deeply"),
    ("SELECT a" + "[1]" * 3000 + " FROM s;", "Nested too deeply"),
    ("EXPLAIN " * 400 + "SHOW STREAMS;", "Nested too deeply"),
]


@pytest.mark.parametrize(("text", "message"), SYNTAX_ERRORS)
def test_syntax_errors(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_script(text)
    assert message in caught.value.message
    assert caught.value.statement_text == text
    assert caught.value.error_code == 40001


def test_a_syntax_error_shows_its_statement() -> None:
    with pytest.raises(ParseError) as caught:
        parse_script("SHOW STREAMS;\n -- next\n SELECT * FROM S1 ORDER BY MYKEY DESC; SHOW TABLES;")
    error = caught.value
    assert error.full_message == (
        "line 3:25: Syntax Error\n\nStatement: SELECT * FROM S1 ORDER BY MYKEY DESC;"
    )
    assert (error.line, error.column, error.token) == (3, 25, "BY")


PREPARE_ERRORS = [
    ("SELECT 9223372036854775808 FROM s;", "line 1:9: Invalid numeric literal: 9223372036854775808"),
    ("SELECT -9223372036854775809 FROM s;", "Invalid numeric literal: -9223372036854775809"),
    (
        "SELECT a, 1.7976931348623159E308 FROM s;",
        "line 1:12: Number overflows DOUBLE: 1.7976931348623159E308",
    ),
    ("SELECT -1.7976931348623160E308 FROM s;", "Number overflows DOUBLE: -1.7976931348623160E308"),
    ("SELECT DECIMAL 'x' FROM s;", "Invalid numeric literal: x"),
    ("SELECT DATE '2020-01-01' FROM s;", "Unknown type: DATE"),
    ("SELECT * FROM s LIMIT 2.5;", "Value must be integer for command: LIMIT"),
    ("INSERT INTO s (a, b) VALUES (1);", "Expected number columns and values to match: 2, 1"),
    ("SELECT a FROM s WHERE a LIKE 'x' ESCAPE 'ab';", "Expected single character escape but got: ab"),
    ("SELECT a AT TIME ZONE 'UTC' FROM s;", "AT TIME ZONE is not supported. Use CONVERT_TZ"),
    ("SELECT CAST(a AS DECIMAL) FROM s;", "DECIMAL takes two numbers"),
    ("SELECT CAST(a AS DECIMAL(0, 0)) FROM s;", "DECIMAL precision must be >= 1: DECIMAL(0, 0)"),
    ("SELECT CAST(a AS DECIMAL(2, 3)) FROM s;", "DECIMAL precision must be >= scale: DECIMAL(2, 3)"),
    ("SELECT ${x} FROM s;", "Variable 'x' is not defined"),
    ("CREATE STREAM `a b` WITH (kafka_topic='t');", "Illegal argument at Line: 2, Col: 15. Source names may"),
    ("SELECT * FROM `a.b`;", "alphanumeric values, '_' or '-'. Got: 'a.b'"),
    ("PRINT t INTERVAL 0;", "INTERVAL must be at least 1, got 0"),
    ("PRINT t LIMIT -1;", "LIMIT cannot be negative, got -1"),
    ("ASSERT SCHEMA;", "ASSERT SCHEMA needs a SUBJECT, an ID, or both"),
    ("SELECT a FROM s WINDOW TUMBLING (SIZE 0 SECONDS) GROUP BY a;", "the size must be more than 0"),
    ("SELECT a FROM s WINDOW SESSION (0 SECONDS) GROUP BY a;", "the gap must be more than 0"),
    (
        "SELECT a FROM s WINDOW HOPPING (SIZE 1 SECOND, ADVANCE BY 1 DAY) GROUP BY a;",
        "ADVANCE BY must be more than 0 and at most the size",
    ),
    (
        "SELECT a FROM s WINDOW TUMBLING (SIZE 1 DAY, RETENTION 1 DAY, GRACE PERIOD 1 HOUR) GROUP BY a;",
        "RETENTION 1 DAYS is less than the window's size and grace period together",
    ),
    ("SELECT a FROM s JOIN t WITHIN -1 DAYS ON s.a = t.a;", "WITHIN cannot be negative: -1"),
]


@pytest.mark.parametrize(("text", "message"), PREPARE_ERRORS)
def test_what_is_wrong_with_a_well_formed_statement_is_said_when_its_turn_comes(
    text: str, message: str
) -> None:
    before, broken = parse_script(f"SHOW STREAMS;\n{text}")
    assert before.error is None
    with pytest.raises(ParseError) as caught:
        _ = broken.ast
    assert caught.value.message.startswith("Failed to prepare statement: ")
    assert message.replace("line 1:", "line 2:") in caught.value.message
    assert caught.value.line == 2
    assert caught.value.statement_text == broken.shown_text


def test_literals_are_reported_one_column_late_as_the_reference_does() -> None:
    script = "SHOW STREAMS;\nCREATE STREAM OUTPUT AS select K, id, 1.7976931348623159E308 FROM INPUT;"
    error = parse_script(script)[1].error
    assert error is not None
    assert error.message == (
        "Failed to prepare statement: line 2:40: Number overflows DOUBLE: 1.7976931348623159E308"
    )
    assert error.column == 39


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_statement_where_one_is_wanted(count: int) -> None:
    with pytest.raises(ParseError, match=f"Expected exactly one KSQL statement; found {count} instead"):
        parse_statement("SHOW STREAMS;" * count)


@pytest.mark.parametrize("text", ["", "a b", "1 +", "a AS b", "f(", "a;"])
def test_expressions_must_be_whole(text: str) -> None:
    with pytest.raises(ParseError):
        parse_expression(text)


@pytest.mark.parametrize("text", ["", "INT INT", "ARRAY<", "MAP<INT>", "STRUCT<a>", "DECIMAL(a, b)", "5"])
def test_types_must_be_whole(text: str) -> None:
    with pytest.raises(ParseError):
        parse_type(text)


def test_errors_carry_what_the_api_shows() -> None:
    assert issubclass(ParseError, StatementError)
    assert issubclass(StatementError, KsqlError)
    plain = KsqlError("no", error_code=42900)
    assert (plain.http_status, plain.error_code, KsqlError("no").error_code) == (429, 42900, 40000)
    secret = StatementError("Failed", detail="Failed: 'secret'", statement_text="INSERT ..;")
    assert secret.message == "Failed"
    assert secret.full_message == "Failed: 'secret'\nStatement: INSERT ..;"
    assert KsqlError("x", error_code=42801, http_status=428).http_status == 428
