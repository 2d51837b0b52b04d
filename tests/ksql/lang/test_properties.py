"""WITH clauses."""

from __future__ import annotations

import pytest

from kalam_jupyter.ksql.errors import ParseError
from kalam_jupyter.ksql.lang import ast, parse_script, parse_statement
from kalam_jupyter.ksql.lang.properties import duration_ms, typed_properties


def create(properties: str) -> ast.CreateSource:
    statement = parse_statement(f"CREATE STREAM s WITH ({properties})")
    assert isinstance(statement, ast.CreateSource)
    return statement


def test_values_have_the_type_of_their_property() -> None:
    clause = create(
        "kafka_topic='t', partitions='4', replicas=1, wrap_single_value='FALSE', value_delimiter='tab', "
        "key_delimiter='|', window_type='hopping', window_size='30 Seconds', retention_ms=5000000000, "
        "value_schema_id='7'"
    ).properties
    assert typed_properties(clause) == {
        "KAFKA_TOPIC": "t",
        "PARTITIONS": 4,
        "REPLICAS": 1,
        "WRAP_SINGLE_VALUE": False,
        "VALUE_DELIMITER": "\t",
        "KEY_DELIMITER": "|",
        "WINDOW_TYPE": "HOPPING",
        "WINDOW_SIZE": 30_000,
        "RETENTION_MS": 5_000_000_000,
        "VALUE_SCHEMA_ID": 7,
    }


def test_a_clause_can_be_looked_into_and_extended() -> None:
    clause = create("kafka_topic='t', partitions=4").properties
    assert clause.get("PARTITIONS") == 4
    assert clause.get("REPLICAS", 1) == 1
    assert "KAFKA_TOPIC" in clause
    assert clause.names == ("KAFKA_TOPIC", "PARTITIONS")
    replaced = clause.replace(PARTITIONS=ast.Literal(2, None), REPLICAS=ast.Literal(3, None))
    assert [(name, replaced.get(name)) for name in replaced.names] == [
        ("KAFKA_TOPIC", "t"),
        ("PARTITIONS", 2),
        ("REPLICAS", 3),
    ]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ("value_format='JSON'", 'Missing required property "KAFKA_TOPIC" which has no default value.'),
        ("kafka_topic='t', x=1, y=2", "Invalid config variable(s) in the WITH clause: X, Y"),
        ("kafka_topic='t', valueformat='JSON'", "Did you mean VALUE_FORMAT?"),
        ("kafka_topic='t', query_id='q'", "Invalid config variable(s) in the WITH clause: QUERY_ID"),
        (
            "kafka_topic='t', format='JSON', value_format='AVRO'",
            "Cannot supply both 'VALUE_FORMAT' and 'FORMAT' properties, as 'FORMAT' sets both key and value "
            "formats. Either use just 'FORMAT', or use 'KEY_FORMAT' and 'VALUE_FORMAT'.",
        ),
        (
            "kafka_topic='t', format='A', key_format='B'",
            "Cannot supply both 'KEY_FORMAT' and 'FORMAT' properties",
        ),
        (
            "kafka_topic='t', cleanup_policy='compact'",
            "Invalid config variable in the WITH clause: CLEANUP_POLICY\n"
            "The CLEANUP_POLICY config is automatically inferred",
        ),
        (
            "kafka_topic='t', value_delimiter='<~>'",
            "Configuration VALUE_DELIMITER is invalid: Invalid delimiter value: '<~>'. Delimiter must be a "
            "single character or TAB,SPACE\nExample valid value: ';'",
        ),
        (
            "kafka_topic='t', key_delimiter=' '",
            "Configuration KEY_DELIMITER is invalid: Delimiter cannot be empty, if you meant to have a tab "
            "or space for delimiter, please use the special values 'TAB' or 'SPACE'\n"
            "Example valid value: ';'",
        ),
        (
            "kafka_topic='t', window_type='Hopping', window_size='30 bobs'",
            "Configuration WINDOW_SIZE is invalid: Invalid duration: '30 bobs'. Unknown time unit: 'BOBS'",
        ),
        (
            "kafka_topic='t', window_type='Session', window_size='30 seconds'",
            "'WINDOW_SIZE' should not be set for SESSION windows.",
        ),
        ("kafka_topic='t', window_type='tumbling'", "'WINDOW_SIZE' must be set for TUMBLING windows"),
        ("kafka_topic='t', window_size='1 DAY'", "'WINDOW_SIZE' needs 'WINDOW_TYPE'"),
        ("kafka_topic='t', window_type='x'", "must be one of SESSION, HOPPING, TUMBLING"),
        ("kafka_topic='t', partitions=0", "Invalid value 0 for property PARTITIONS"),
        ("kafka_topic='t', partitions='x'", "Invalid value x for property PARTITIONS"),
        ("kafka_topic='t', partitions=true", "for property PARTITIONS"),
        ("kafka_topic=5", "Invalid value 5 for property KAFKA_TOPIC: Expected value to be a string"),
        ("kafka_topic='t', wrap_single_value='maybe'", "Expected value to be either true or false"),
        ("kafka_topic='t', KAFKA_TOPIC='u'", "Property 'KAFKA_TOPIC' is given more than once"),
    ],
)
def test_what_a_create_statement_refuses(properties: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        create(properties)
    assert caught.value.message.startswith("Failed to prepare statement: ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE STREAM s WITH (window_type='SESSION') AS SELECT * FROM t;",
        "INSERT INTO s WITH (kafka_topic='t') SELECT * FROM t;",
    ],
)
def test_properties_belong_to_their_statements(statement: str) -> None:
    error = parse_script(statement)[0].error
    assert error is not None
    assert "Invalid config variable(s) in the WITH clause: " in error.message
    assert statement[error.column - 1 if error.column else 0] == "'"


@pytest.mark.parametrize(("text", "milliseconds"), [("1 DAY", 86_400_000), ("  5   milliseconds ", 5)])
def test_durations(text: str, milliseconds: int) -> None:
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "DAYS", "x DAYS", "-1 DAYS", "1.5 DAYS"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid duration"):
        duration_ms(text)
