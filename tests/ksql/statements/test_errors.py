"""Of which class refusals are."""

from __future__ import annotations

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.errors import RequestError, StatementError

STREAM = "CREATE STREAM s (id INT KEY, v INT) WITH (kafka_topic='s', value_format='JSON', partitions=1);"


@pytest.mark.parametrize(
    "text",
    [
        "CREATE STREAM o AS SELECT id, v FROM s EMIT FINAL;",
        "ALTER STREAM nope ADD COLUMN x INT;",
        "DROP TABLE s;",
        "INSERT INTO s SELECT * FROM nope;",
    ],
)
def test_what_is_wrong_with_a_statement_is_told_with_its_text(ksql: Ksql, text: str) -> None:
    ksql.execute(STREAM)
    with pytest.raises(StatementError) as raised:
        ksql.execute(text)
    assert raised.value.error_code == 40001
    assert raised.value.statement_text == text


@pytest.mark.parametrize("topic", ["", ".", "..", "a/b", "a b", "\u00fc", "x" * 250])
def test_a_topic_is_made_under_no_name_that_kafka_refuses(ksql: Ksql, topic: str) -> None:
    ksql.execute(STREAM)
    for text in (
        f"CREATE STREAM o (v INT) WITH (kafka_topic='{topic}', value_format='JSON', partitions=1);",
        f"CREATE STREAM o WITH (kafka_topic='{topic}') AS SELECT * FROM s;",
    ):
        with pytest.raises(StatementError, match="is illegal: it takes 1 to 249 ASCII letters"):
            ksql.execute(text)


@pytest.mark.parametrize(
    ("clause", "message"),
    [
        ("kafka_topic=NULL", 'Missing required property "KAFKA_TOPIC"'),
        ("kafka_topic='t', timestamp='v', timestamp_format='yyyy{'", "Invalid TIMESTAMP_FORMAT 'yyyy{'"),
    ],
)
def test_a_property_that_cannot_be_is_refused_with_the_statement(
    ksql: Ksql, clause: str, message: str
) -> None:
    with pytest.raises(KsqlError, match=message):
        ksql.execute(f"CREATE STREAM t (v STRING) WITH (value_format='JSON', partitions=1, {clause});")


def test_values_that_cannot_be_computed_are_told_in_the_words_of_sql(ksql: Ksql) -> None:
    ksql.execute(STREAM)
    with pytest.raises(StatementError, match="null in an operation that needs a value"):
        ksql.execute("INSERT INTO s (id, v) VALUES (1, CAST(NULL AS INT) * 2);")


def test_a_struct_has_no_field_twice(ksql: Ksql) -> None:
    with pytest.raises(KsqlError, match="Duplicate field names found in STRUCT"):
        ksql.execute(STREAM.replace("v INT", "v ARRAY<STRUCT<a INT, A INT>>"))


def test_an_unknown_target_of_values_is_no_statement_error(ksql: Ksql) -> None:
    with pytest.raises(RequestError) as raised:
        ksql.execute("INSERT INTO nope (a) VALUES (1);")
    assert (raised.value.error_code, isinstance(raised.value, StatementError)) == (40000, False)


def test_more_persistent_queries_than_configured_are_refused() -> None:
    engine = Engine.open()
    ksql = Ksql(engine, {"ksql.query.persistent.active.limit": "1"})
    engine.start()
    ksql.execute(STREAM + "CREATE STREAM a AS SELECT * FROM s;")
    with pytest.raises(KsqlError) as raised:
        ksql.execute("CREATE STREAM b AS SELECT * FROM s;")
    assert "would cause the number of active, persistent queries to exceed the configured limit" in str(
        raised.value
    )
    assert raised.value.error_code == 40000
    ksql.execute("CREATE OR REPLACE STREAM a AS SELECT * FROM s WHERE v > 1;")
    engine.close()


def test_a_column_listed_twice_is_refused(ksql: Ksql) -> None:
    ksql.execute(STREAM)
    with pytest.raises(StatementError, match="`ID` is listed more than once"):
        ksql.execute("INSERT INTO s (id, v, id) VALUES (1, 2, 3);")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("INSERT INTO nope SELECT * FROM s;", "Line: 1, Col: 13: Source `NOPE` does not exist."),
        (
            "CREATE STREAM o AS SELECT id, CASE WHEN v = 1 THEN EXPLODE(ARRAY[1]) ELSE 1 END FROM s;",
            "Table functions cannot be used in CASE: EXPLODE(ARRAY[1])",
        ),
        ("CREATE STREAM o AS SELECT id, EXPLODE(NULL) FROM s;", "Can't infer a type of null."),
        ("CREATE TABLE o AS SELECT id, MIN(v, x => x) FROM s GROUP BY id;", "No lambda is expected here"),
    ],
)
def test_what_is_wrong_is_said(ksql: Ksql, text: str, message: str) -> None:
    ksql.execute(STREAM)
    with pytest.raises(StatementError) as raised:
        ksql.execute(text)
    assert raised.value.message.startswith(message)
