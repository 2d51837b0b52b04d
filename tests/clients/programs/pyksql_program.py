"""What a user of PyPI's `pykSQL` would write. Prints what it saw as JSON.

Its `inserts_stream` names no target, its HTTP/2 queries do not start and its `close_query` sends no
credentials, with any server: the first two are left out, for the third the server is open.
"""

import itertools
import json
import sys

from ksql import KSQLAPI


def main() -> None:
    url, name = sys.argv[1], "PY_PYKSQL"
    api = KSQLAPI(url)
    seen = {"version": api.get_ksql_version(), "properties": len(api.get_properties())}
    api.ksql(
        f"CREATE STREAM {name}_IN (id INT, note STRING) "
        f"WITH (KAFKA_TOPIC='{name}', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    seen["created"] = api.create_stream(name, ["id INT", "note STRING"], name)
    seen["derived"] = api.create_stream_as(f"{name}_B", ["id", "note"], name, conditions="id > 1")
    seen["list"] = api.ksql("SHOW STREAMS;")
    api.ksql(f"INSERT INTO {name} VALUES (1, 'a'); INSERT INTO {name} VALUES (2, 'ü');")
    earliest = {"ksql.streams.auto.offset.reset": "earliest"}
    rows = api.query(
        f"SELECT id, note FROM {name} EMIT CHANGES LIMIT 2;", stream_properties=earliest, return_objects=True
    )
    seen["push"] = list(itertools.islice(rows, 2))
    derived = api.query(f"SELECT id FROM {name}_B EMIT CHANGES LIMIT 1;", stream_properties=earliest)
    seen["lines"] = list(itertools.islice(derived, 2))
    seen["close"] = api.close_query("nobody")
    for query in api.ksql("SHOW QUERIES;")[0]["queries"]:
        if f"{name}_B" in query["sinks"]:
            api.ksql(f"TERMINATE {query['id']};")
    seen["dropped"] = [api.ksql(f"DROP STREAM {s};")[0]["@type"] for s in (f"{name}_B", name, f"{name}_IN")]
    print(json.dumps(seen))


main()
