"""What a user of PyPI's `ksql` (the oldest client) would write. Prints what it saw as JSON."""

import collections
import collections.abc
import itertools
import json
import sys

for _name in (
    "MutableSet",
    "MutableMapping",
    "Iterable",
    "Mapping",
):  # moved in Python 3.10, the client is older
    setattr(collections, _name, getattr(collections.abc, _name))

from ksql import KSQLAPI  # noqa: E402
from ksql.errors import KSQLError  # noqa: E402


def main() -> None:
    url, name = sys.argv[1], "PY_KSQL"
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
    rows = api.query(
        f"SELECT id, note FROM {name} EMIT CHANGES LIMIT 2;", stream_properties=earliest, return_objects=True
    )
    seen["push"] = list(itertools.islice(rows, 2))
    try:
        api.ksql("DESCRIBE nobody;")
    except KSQLError as error:
        seen["error"] = str(error)
    seen["close"] = api.close_query("nobody")
    seen["drop"] = api.ksql(f"DROP STREAM {name} DELETE TOPIC;")
    print(json.dumps(seen))


main()
