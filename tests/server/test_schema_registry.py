"""The schema registry's REST API, as Kafka serializers use it."""

import json

AVRO = '{"type":"record","name":"V","fields":[{"name":"NOTE","type":["null","string"],"default":null}]}'


async def test_a_schema_that_a_statement_registered_is_there(call):
    await call(
        "POST",
        "ksql",
        body={
            "ksql": "CREATE STREAM s (id INT KEY, note STRING) "
            "WITH (KAFKA_TOPIC='s', VALUE_FORMAT='AVRO', PARTITIONS=1);"
        },
    )
    assert json.loads((await call("GET", "subjects")).body) == ["s-value"]
    latest = await call("GET", "subjects", "s-value", "versions", "latest")
    assert latest.headers["Content-Type"] == "application/vnd.schemaregistry.v1+json"
    found = json.loads(latest.body)
    assert found["version"] == 1
    assert "NOTE" in found["schema"]
    by_id = json.loads((await call("GET", "schemas", "ids", str(found["id"]))).body)
    assert by_id["schema"] == found["schema"]


async def test_a_registered_schema_gives_a_stream_its_columns(call):
    answer = await call("POST", "subjects", "t-value", "versions", body={"schema": AVRO})
    assert json.loads(answer.body)["id"] >= 1
    await call(
        "POST",
        "ksql",
        body={"ksql": "CREATE STREAM t WITH (KAFKA_TOPIC='t', VALUE_FORMAT='AVRO', PARTITIONS=1);"},
    )
    described = json.loads((await call("POST", "ksql", body={"ksql": "DESCRIBE t;"})).body)
    assert [f["name"] for f in described[0]["sourceDescription"]["fields"]] == ["NOTE"]


async def test_unknown_subjects_and_bad_schemas_have_the_registrys_codes(call):
    missing = await call("GET", "subjects", "nobody", "versions", "1")
    assert (missing.code, json.loads(missing.body)["error_code"]) == (404, 40401)
    bad = await call("POST", "subjects", "x", "versions", body={"schema": "{"})
    assert (bad.code, json.loads(bad.body)["error_code"]) == (422, 42201)


async def test_refuses_strangers(call):
    assert (await call("GET", "subjects", headers={"anonymous": True})).code == 401
