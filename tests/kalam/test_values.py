"""One value, one form: parameters, rows, live rows and topic payloads agree (HTTP contract section 5.3)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Client

COLUMNS = {
    "b": ("BOOLEAN", st.booleans(), lambda v: v),
    "s": ("SMALLINT", st.integers(-(2**15), 2**15 - 1), lambda v: v),
    "i": ("INT", st.integers(-(2**31), 2**31 - 1), lambda v: v),
    "l": ("BIGINT", st.integers(-(2**63), 2**63 - 1), str),
    "d": ("DOUBLE", st.floats(allow_nan=False, allow_infinity=False), lambda v: v),
    "m": ("DECIMAL(18,4)", st.decimals(-(10**12), 10**12, places=4).map(str), lambda v: f"{Decimal(v):.4f}"),
    "t": ("TEXT", st.text(st.characters(codec="utf-8", exclude_characters="\0")), lambda v: v),
    "j": ("JSON", st.dictionaries(st.text("ab", max_size=2), st.integers(0, 9)).map(orjson.dumps), None),
    "u": ("UUID", st.uuids().map(str), lambda v: v),
}
ROWS = st.tuples(*(st.none() | given_ for _, given_, _ in COLUMNS.values()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=ROWS)
def test_a_value_has_one_form_everywhere(root: Client, row: tuple[Any, ...]) -> None:
    if root.kalam.find_table("app", "v") is None:
        types = ", ".join(f"{name} {type_}" for name, (type_, _, _) in COLUMNS.items())
        root.run(f"CREATE SHARED TABLE app.v (id INT PRIMARY KEY, {types})")
        root.run("CREATE TOPIC app.ev; ALTER TOPIC app.ev ADD SOURCE app.v ON INSERT")
    root.run("DELETE FROM app.v WHERE id = 1")
    live = root.kalam.subscribe(root.session, "SELECT * FROM app.v")
    given_ = [v.decode() if isinstance(v, bytes) else v for v in row]
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    root.run(f"INSERT INTO app.v VALUES (1, {places})", *given_)
    expected = {
        name: None if value is None else value if form is None else form(value)
        for (name, (_, _, form)), value in zip(COLUMNS.items(), given_, strict=True)
    }
    names = ", ".join(COLUMNS)
    for sql in (f"SELECT {names} FROM app.v", f"SELECT {names} FROM app.v WHERE id + 0 = 1 ORDER BY id DESC"):
        assert [dict(zip(COLUMNS, r, strict=True)) for r in root.json(sql)] == [expected]
    (change,) = live.poll()
    live.close()
    end = root.kalam.topics.topic("app.ev").end_sequence
    payload = root.kalam.topics.consume("app.ev", None, start=end - 1).messages[0].payload
    for found in (change.rows, orjson.loads(payload)):
        assert {name: found[name] for name in COLUMNS} == expected
