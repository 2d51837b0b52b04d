"""What a user of PyPI's `ksql-python-ng` would write, over HTTP/1.1 and 2. Prints what it saw as JSON."""

import json
import sys

from ksql import KSQLAPI
from ksql.errors import KSQLError


def main() -> None:
    url, name = sys.argv[1], "PY_KSQL_NG"
    api = KSQLAPI(url)
    earliest = {"ksql.streams.auto.offset.reset": "earliest"}
    seen = {"version": api.get_ksql_version(), "properties": len(api.get_properties())}
    seen["create"] = api.ksql(
        f"CREATE STREAM {name} (id INT KEY, note STRING) "
        f"WITH (KAFKA_TOPIC='{name}', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    seen["list"] = api.ksql("SHOW STREAMS;")
    seen["describe"] = api.ksql(f"DESCRIBE {name};")
    seen["inserts"] = api.inserts_stream(name, [{"ID": 1, "NOTE": "a"}, {"ID": 2, "NOTE": "b"}])
    seen["push1"] = list(
        api.query(f"SELECT id, note FROM {name} EMIT CHANGES LIMIT 2;", stream_properties=earliest)
    )
    seen["push2"] = list(
        api.query(
            f"SELECT id, note FROM {name} EMIT CHANGES LIMIT 2;",
            stream_properties=earliest,
            use_http2=True,
            parse=True,
        )
    )
    try:
        api.ksql("DESCRIBE nobody;")
    except KSQLError as error:
        seen["error"] = str(error)
    seen["close"] = api.close_query("nobody")
    seen["drop"] = api.ksql(f"DROP STREAM {name} DELETE TOPIC;")
    print(json.dumps(seen))


main()
