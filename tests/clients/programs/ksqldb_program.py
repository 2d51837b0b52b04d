"""What a user of PyPI's `ksqldb` would write. Prints what it saw as JSON."""

import asyncio
import json
import sys

from ksqldb import KSQLdbClient


async def push(client: KSQLdbClient, name: str) -> dict:
    rows = []
    async for line in client.query_async(
        f"SELECT id, note FROM {name} EMIT CHANGES;",
        stream_properties={"auto.offset.reset": "earliest"},
        timeout=20,
    ):
        rows.append(line)
        if len(rows) == 3:
            return {"lines": rows, "closed": client.close_query(rows[0]["queryId"])}
    return {"lines": rows}


def main() -> None:
    url, name = sys.argv[1], "PY_KSQLDB"
    client = KSQLdbClient(url)
    seen = {}
    seen["create"] = client.ksql(
        f"CREATE STREAM {name} (id INT KEY, note STRING) "
        f"WITH (KAFKA_TOPIC='{name}', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    seen["list"] = client.ksql("LIST STREAMS;")
    seen["describe"] = client.ksql(f"DESCRIBE {name};")
    seen["properties"] = len(client.get_properties())
    seen["inserts"] = client.inserts_stream(name, [{"ID": 1, "NOTE": "a"}, {"ID": 2, "NOTE": "ü"}])
    seen["push"] = asyncio.run(push(client, name))
    seen["pull"] = client.query_sync(f"SELECT id, note FROM {name};")
    seen["close_again"] = client.close_query(seen["push"]["lines"][0]["queryId"])
    seen["drop"] = client.ksql(f"DROP STREAM {name} DELETE TOPIC;")
    print(json.dumps(seen))


main()
