"""What a user of PyPI's `ksqldb-client` would write. Prints what it saw as JSON."""

import json
import sys

from ksqldb_client import KSqlDBClient
from ksqldb_client.exceptions import APIError


def plain(value: object) -> object:
    return json.loads(value.model_dump_json()) if hasattr(value, "model_dump_json") else str(value)


def main() -> None:
    url, name = sys.argv[1], "PY_KSQLDB_CLIENT"
    client = KSqlDBClient(url)
    seen = {"info": plain(client.info())}
    seen["create"] = plain(
        client.ksql(
            f"CREATE STREAM {name} (id INT KEY, note STRING) "
            f"WITH (KAFKA_TOPIC='{name}', VALUE_FORMAT='JSON', PARTITIONS=1);"
        )
    )
    seen["table"] = plain(
        client.ksql(f"CREATE TABLE {name}_T AS SELECT id, COUNT(*) AS n FROM {name} GROUP BY id;")
    )
    client.ksql(f"INSERT INTO {name} VALUES (1, 'a');")
    seen["list"] = plain(client.ksql("LIST STREAMS;"))
    seen["queries"] = plain(client.ksql("LIST QUERIES;"))
    seen["describe"] = plain(client.ksql(f"DESCRIBE {name};"))
    seen["pull"] = plain(client.query(f"SELECT * FROM {name}_T WHERE id = 1;"))
    seen["push"] = plain(
        client.query(
            f"SELECT id, note FROM {name} EMIT CHANGES LIMIT 1;",
            stream_properties={"auto.offset.reset": "earliest"},
        )
    )
    try:
        client.ksql("SELEKT 1;")
    except APIError as error:
        seen["error"] = str(error)
    seen["close"] = None
    try:
        client.close_query(query_id="nobody")
    except APIError as error:
        seen["close"] = str(error)
    seen["drop"] = plain(client.ksql(f"DROP TABLE {name}_T DELETE TOPIC; DROP STREAM {name} DELETE TOPIC;"))
    print(json.dumps(seen))


main()
