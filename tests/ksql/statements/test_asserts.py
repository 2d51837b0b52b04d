"""ASSERT TOPIC and ASSERT SCHEMA."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from kalam_jupyter.ksql import Ksql
from kalam_jupyter.ksql.errors import StatementError

AVRO = "CREATE STREAM s (v INT) WITH (kafka_topic='t', value_format='AVRO', partitions=2);"


@pytest.mark.parametrize(
    ("text", "subject", "id_", "exists"),
    [
        ("ASSERT SCHEMA SUBJECT 't-value';", "t-value", None, True),
        ("ASSERT SCHEMA ID 1;", None, 1, True),
        ("ASSERT SCHEMA SUBJECT 't-value' ID 1 TIMEOUT 2 SECONDS;", "t-value", 1, True),
        ("ASSERT NOT EXISTS SCHEMA SUBJECT 't-value' ID 99;", "t-value", 99, False),
        ("ASSERT NOT EXISTS SCHEMA SUBJECT 'u-value';", "u-value", None, False),
    ],
)
def test_a_schema_that_is_as_asserted(
    ksql: Ksql, text: str, subject: str | None, id_: int | None, exists: bool
) -> None:
    ksql.execute(AVRO)
    assert ksql.execute(text) == [
        {
            "@type": "assert_schema",
            "statementText": text,
            "subject": subject,
            "id": id_,
            "exists": exists,
            "warnings": [],
        }
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ASSERT SCHEMA SUBJECT 'x' ID 7 TIMEOUT 0 SECONDS;",
            "Schema with subject name x id 7 does not exist",
        ),
        ("ASSERT SCHEMA ID 7 TIMEOUT 0 SECONDS;", "Schema with id 7 does not exist"),
        (
            "ASSERT NOT EXISTS SCHEMA SUBJECT 't-value' TIMEOUT 0 SECONDS;",
            "Schema with subject name t-value exists",
        ),
        ("ASSERT TOPIC nope TIMEOUT 0 SECONDS;", "Topic nope does not exist"),
        ("ASSERT NOT EXISTS TOPIC t TIMEOUT 0 SECONDS;", "Topic t exists"),
        (
            "ASSERT TOPIC t WITH (PARTITIONS=3) TIMEOUT 0 SECONDS;",
            "Mismatched configuration for topic t: For config partitions, expected 3 got 2",
        ),
        ("ASSERT TOPIC t WITH (NOPE=3) TIMEOUT 0 SECONDS;", "Cannot assert unknown topic property: NOPE"),
    ],
)
def test_a_failed_assertion_says_what_is_wrong(ksql: Ksql, text: str, message: str) -> None:
    ksql.execute(AVRO)
    with pytest.raises(StatementError) as raised:
        ksql.execute(text)
    assert (raised.value.message, raised.value.error_code) == (message, 41700)
    assert raised.value.statement_text == text


def test_an_assertion_waits_for_what_another_thread_does(ksql: Ksql) -> None:
    waiting = ThreadPoolExecutor(1)
    answer = waiting.submit(ksql.execute, "ASSERT TOPIC t TIMEOUT 30 SECONDS; " + AVRO.replace("s (", "u ("))
    ksql.execute(AVRO)
    assert [e["@type"] for e in answer.result()] == ["assert_topic", "currentStatus"]
    assert len(ksql.execute("LIST STREAMS;")[0]["streams"]) == 2
    waiting.shutdown()
