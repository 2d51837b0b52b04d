"""What the Streams panel asks for."""

import json

STATEMENTS = (
    "CREATE STREAM s (id INT KEY, note STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);"
    "CREATE TABLE t AS SELECT id, COUNT(*) AS n FROM s GROUP BY id;"
)


async def overview(call):
    answer = await call("GET", "kalam-jupyter", "overview")
    assert answer.code == 200
    return json.loads(answer.body)


async def test_lists_relations_of_both_dialects_with_their_columns(call):
    await call("POST", "ksql", body={"ksql": STATEMENTS})
    await call(
        "POST",
        *("v1", "api", "sql"),
        body={"sql": "CREATE NAMESPACE app; CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT)"},
    )
    namespaces = {
        n["name"]: {r["name"]: r for r in n["relations"]} for n in (await overview(call))["namespaces"]
    }
    assert namespaces["ksql"]["S"]["columns"] == [
        {"name": "ID", "type": "INTEGER", "key": True},
        {"name": "NOTE", "type": "STRING", "key": False},
    ]
    assert namespaces["ksql"]["T"]["kind"] == "TABLE"
    assert namespaces["app"]["notes"]["kind"] == "USER"
    assert namespaces["app"]["notes"]["columns"][0]["key"] is True


async def test_counts_what_a_query_consumed_and_stops_it(call):
    await call("POST", "ksql", body={"ksql": STATEMENTS + "INSERT INTO s VALUES (1, 'a');"})
    await call("POST", "query", body={"ksql": "SELECT * FROM t;"})  # waits until the query caught up
    (query,) = (await overview(call))["queries"]
    assert (query["records"], query["lag"], query["state"]) == (1, 0, "RUNNING")
    stopped = await call("DELETE", "kalam-jupyter", "queries", query["id"])
    assert stopped.code == 200
    assert (await overview(call))["queries"] == []
    again = await call("DELETE", "kalam-jupyter", "queries", query["id"])
    assert again.code == 400
    assert query["id"] in json.loads(again.body)["message"]


async def test_peeks_at_the_last_records_of_a_topic(call):
    await call(
        "POST",
        "ksql",
        body={"ksql": STATEMENTS + "INSERT INTO s VALUES (1, 'a'); INSERT INTO s VALUES (2, 'b');"},
    )
    found = json.loads((await call("GET", "kalam-jupyter", "topics", "s")).body)
    assert [json.loads(r["value"])["NOTE"] for r in found["records"]] == ["b", "a"]
    assert (await call("GET", "kalam-jupyter", "topics", "nobody")).code == 404


async def test_refuses_strangers(call):
    answer = await call("GET", "kalam-jupyter", "overview", headers={"anonymous": True})
    assert answer.code == 401
