"""What a user of PyPI's `jetblack-ksql-dbapi` would write. Prints what it saw as JSON.

Its wheel lacks the grammar by which it tells queries from commands; one that tells them apart by their first
word is put in its place.
"""

import importlib.resources
import json
import sys
from decimal import Decimal
from pathlib import Path

GRAMMAR = r"""
statements: (query_statement | command_statement)+
query_statement: (query | print) ";"
command_statement: (show_tables | other) ";"
query: /SELECT/i REST
print: /PRINT/i REST
show_tables: /(SHOW|LIST)\s+TABLES/i
other: /(?!SELECT|PRINT|(SHOW|LIST)\s+TABLES)[A-Za-z][^;]*/i
REST: /[^;]+/
%ignore /\s+/
"""
folder = importlib.resources.files("jetblack_ksql_dbapi") / "_grammars"
Path(str(folder), "ksql.lark").write_text(GRAMMAR)

from jetblack_ksql_dbapi import connect  # noqa: E402
from jetblack_ksql_dbapi._ksql_types import KsqlError  # noqa: E402


def main() -> None:
    url, token, name = sys.argv[1], sys.argv[2], "PY_JETBLACK"
    connection = connect(url, api_key="me", api_secret=token)
    cursor = connection.cursor()
    cursor.execute(
        f"CREATE STREAM {name} (ID INT KEY, NOTE STRING, AMOUNT DECIMAL(6, 2)) "
        f"WITH (KAFKA_TOPIC='{name}', VALUE_FORMAT='JSON', PARTITIONS=1);"
    )
    cursor.execute(f"CREATE TABLE {name}_T AS SELECT ID, COUNT(*) AS N FROM {name} GROUP BY ID;")
    cursor.executemany(
        f"INSERT INTO {name} (ID, NOTE, AMOUNT) VALUES (?, ?, ?);",
        [(1, "a", Decimal("1.50")), (2, "b", Decimal("2.25"))],
    )
    seen: dict[str, object] = {}
    cursor.execute(f"SELECT ID, NOTE FROM {name};")
    seen["columns"] = [d[0] for d in cursor.description or ()]
    seen["rows"] = [list(row) for row in cursor.fetchall()]
    cursor.execute(f"SELECT ID, N FROM {name}_T WHERE ID = ?;", (1,))
    seen["pull"] = list(cursor.fetchone() or ())
    cursor.execute(f"PRINT '{name}' FROM BEGINNING LIMIT 2;")
    seen["printed"] = len(list(cursor.fetchall()))
    cursor.execute("SHOW TABLES;")
    seen["tables"] = [list(row) for row in cursor.fetchall()]
    cursor.execute(f"DESCRIBE {name};")
    seen["fields"] = [list(row) for row in cursor.fetchall()]
    try:
        cursor.execute("DESCRIBE NOBODY;")
    except KsqlError as error:
        seen["error"] = str(error)
    cursor.execute(f"DROP TABLE {name}_T DELETE TOPIC;")
    cursor.execute(f"DROP STREAM {name} DELETE TOPIC;")
    print(json.dumps(seen, default=str))


main()
