"""Live queries: initial rows plus changes equal a fresh SELECT, and messages have the contract's shapes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam, KalamError, LiveQuery
from kalam_jupyter.kalam.errors import TakesLongError
from kalam_jupyter.kalam.live_message import LiveChange, LiveMessage
from kalam_jupyter.kalam.live_poll import Companions, News
from tests.kalam.conftest import CONFIG, START_MS, Client

FILTERS = [
    None,
    "n > 2",
    "n IS NULL OR s LIKE 'a%'",
    "n IN (1, 3, 5) AND NOT (s = 'b')",
    "s <> 'b' AND n = 3",
    "4 = id",
    "n BETWEEN 2 AND 4",
    "abs(n) = 3",
    "CASE WHEN n > 3 THEN s ELSE 'a' END = 'a'",
]

values = st.tuples(
    st.integers(0, 6), st.one_of(st.none(), st.integers(-4, 6)), st.sampled_from(["a", "ab", "b"])
)
writes = st.one_of(
    st.tuples(st.just("insert"), values),
    st.tuples(st.just("update"), values),
    st.tuples(st.just("delete"), values),
    st.tuples(st.just("batch"), st.lists(values, min_size=1, max_size=4)),
    st.tuples(st.just("poll"), st.none()),
    # the connection breaks after so many frames of what is waiting, and of what the resumed query sends
    st.tuples(st.just("break"), st.tuples(st.integers(0, 3), st.integers(0, 4))),
    st.tuples(st.just("reconnect"), st.none()),
)


def write(client: Client, op: str, value: Any) -> None:
    if op == "batch":
        statements = "; ".join(
            f"UPDATE app.t SET n = {n or 'NULL'}, s = '{s}' WHERE id = {i}" for i, n, s in value
        )
        client.run(f"BEGIN; {statements}; DELETE FROM app.t WHERE id = {value[0][0]}; COMMIT")
        return
    i, n, s = value
    if op == "insert" and not client.rows("SELECT id FROM app.t WHERE id = $1", i):
        client.run("INSERT INTO app.t (id, n, s) VALUES ($1, $2, $3)", i, n, s)
    elif op == "update":
        client.run("UPDATE app.t SET n = $1, s = $2 WHERE id = $3", n, s, i)
    elif op == "delete":
        client.run("DELETE FROM app.t WHERE id = $1", i)


class Replica:
    """What a client that applies rows and changes in order ends up with, by primary key."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.seq: int | None = None

    def apply(self, message: dict[str, Any]) -> None:
        kind = message.get("change_type", "initial")
        for row in message.get("rows", []):
            if kind == "update":
                known = dict(self.rows.get(row["id"], {}))
                known.update(dict.fromkeys(message["old_values"][0]))
                row = {**known, **row}
            self.rows[row["id"]] = {"n": row.get("n"), "s": row.get("s")}
            self._saw(row)
        if kind == "delete":
            for row in message["old_values"]:
                self.rows.pop(row["id"], None)
                self._saw(row)

    def _saw(self, row: dict[str, Any]) -> None:
        self.seq = max(self.seq or 0, int(row["_seq"]))


def frames(live: LiveQuery) -> Iterator[dict[str, Any]]:
    """All initial rows, and around them what a resumed query says about rows that are gone."""
    _, *gone, first = live.start()
    yield from (message.to("s") for message in gone)
    message: LiveMessage | None = first
    while message is not None:
        yield message.to("s")
        message = live.next_batch() if message.body["batch_control"]["has_more"] else None
    yield from (change.message("s") for change in live.poll())


def poll_together(*queries: LiveQuery) -> list[list[LiveChange]]:
    found = []
    for changes in Companions(queries).poll(1000):
        assert not isinstance(changes, KalamError)
        found.append(list(changes))
    return found


def follow(live: LiveQuery, replica: Replica, count: int | None = None) -> None:
    """Apply what is there, or its first frames."""
    for message in islice(frames(live), count):
        replica.apply(message)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(writes, max_size=14), where=st.sampled_from(FILTERS), before=st.lists(values, max_size=5)
)
def test_initial_rows_plus_changes_equal_a_fresh_select(steps: Any, where: str | None, before: Any) -> None:
    with Engine.open(clock=Clock(START_MS)) as engine:
        kalam = Kalam(engine, CONFIG)
        client = Client(kalam, kalam.session("root"))
        client.run("CREATE NAMESPACE app; CREATE SHARED TABLE app.t (id INT PRIMARY KEY, n INT, s TEXT)")
        for value in before:
            write(client, "insert", value)
        sql = "SELECT * FROM app.t" + (f" WHERE {where}" if where else "")
        live, replica = kalam.subscribe(client.session, sql, {"batch_size": 2}), Replica()
        other = kalam.subscribe(client.session, "SELECT * FROM app.t WHERE s = 'a'")
        follow(live, replica)
        for op, value in steps:
            if op == "poll":
                for change in poll_together(live, other)[0]:
                    replica.apply(change.message("s"))
            elif op in ("reconnect", "break"):
                for change in islice(live.poll(), value[0] if op == "break" else 0):
                    replica.apply(change.message("s"))
                for count in (value[1], None) if op == "break" else (None,):
                    live.close()
                    options = {"batch_size": 2, **({} if replica.seq is None else {"from": replica.seq})}
                    live = kalam.subscribe(client.session, sql, options)
                    follow(live, replica, count)
            else:
                write(client, op, value)
        for change in live.poll():
            replica.apply(change.message("s"))
        fresh = client.rows(f"SELECT id, n, s FROM app.t{f' WHERE {where}' if where else ''}")
        found = {int(k): (v["n"], v["s"]) for k, v in replica.rows.items()}
        assert found == {i: (n, s) for i, n, s in fresh}
        kalam.close()


@pytest.mark.parametrize("received", range(5))
def test_a_resumed_query_may_break_after_any_frame(todo: Client, received: int) -> None:
    sql = "SELECT id, title, done FROM app.todo WHERE done = false"
    todo.run("INSERT INTO app.todo VALUES (1, 'a', false), (2, 'b', false), (3, 'c', false)")
    rows, seq = {}, 0

    def apply(message: dict[str, Any]) -> None:
        nonlocal seq
        for row in message.get("rows", []):
            rows[row["id"]] = {**rows.get(row["id"], {}), **row}
        for row in message["old_values"] if message.get("change_type") == "delete" else ():
            rows.pop(row["id"], None)
        for row in [*message.get("rows", []), *message.get("old_values", [])]:
            seq = max(seq, int(row["_seq"]))

    for message in frames(todo.kalam.subscribe(todo.session, sql, {})):
        apply(message)
    for statement in (
        "INSERT INTO app.todo VALUES (4, 'd', false)",
        "DELETE FROM app.todo WHERE id = 1",
        "UPDATE app.todo SET title = 'bb' WHERE id = 2",
        "UPDATE app.todo SET done = true WHERE id = 3",
        "INSERT INTO app.todo VALUES (5, 'e', false)",
    ):
        todo.run(statement)
    sent, updated = [], []
    for count in (received, None):
        before = seq
        for message in islice(frames(todo.kalam.subscribe(todo.session, sql, {"from": seq})), count):
            sent += [int(r["_seq"]) for r in message.get("rows", message.get("old_values"))]
            updated += [r["id"] for r in message.get("rows", ())]
            apply(message)
            assert message["type"] == "initial_data_batch" or message["change_type"] == "delete"
            assert all(int(r["_seq"]) > before for r in message.get("rows", ()))
    assert {i: row["title"] for i, row in rows.items()} == {"2": "bb", "4": "d", "5": "e"}
    assert sent == sorted(sent), "in the order of _seq"
    assert updated == ["4", "2", "5"], "no row twice"


def test_a_resumed_query_is_not_told_of_rows_it_never_had(todo: Client, clock: Clock) -> None:
    def resumed() -> list[tuple[str, str]]:
        live = todo.kalam.subscribe(todo.session, sql, {"from": seq})
        found = [
            (message.get("change_type", "row"), row["id"])
            for message in frames(live)
            for row in message.get("rows", message.get("old_values"))
        ]
        live.close()
        return found

    sql = "SELECT * FROM app.todo WHERE title = 'mine'"
    todo.run("INSERT INTO app.todo VALUES (1, 'mine', false), (2, 'other', false), (3, 'mine', false)")
    live = todo.kalam.subscribe(todo.session, sql, {})
    (first,) = live.start()[1:]
    seq = first.body["batch_control"]["last_seq_id"]
    live.close()
    del live
    todo.run("UPDATE app.todo SET done = true WHERE id = 2; INSERT INTO app.todo VALUES (4, 'other', false)")
    todo.run("INSERT INTO app.todo VALUES (5, 'mine', false); DELETE FROM app.todo WHERE id = 5")
    todo.run(
        "UPDATE app.todo SET title = 'other' WHERE id = 1; INSERT INTO app.todo VALUES (6, 'mine', true)"
    )
    assert resumed() == [("delete", "1"), ("row", "6")]
    clock.advance(120_000)
    todo.run("DELETE FROM app.todo WHERE id = 4")  # it is too long ago that somebody followed the table
    assert {id_ for kind, id_ in resumed() if kind == "delete"} == {"1", "2", "4", "5"}


@pytest.fixture
def todo(root: Client) -> Client:
    root.run("CREATE TABLE app.todo (id BIGINT PRIMARY KEY, title TEXT, done BOOLEAN) WITH (TYPE='USER')")
    return root


def test_worked_session_of_the_contract(todo: Client) -> None:
    todo.run("INSERT INTO app.todo VALUES (1, 'a', false), (2, 'b', false), (3, 'c', false)")
    live = todo.kalam.subscribe(
        todo.session, "SELECT * FROM app.todo WHERE done = false", {"batch_size": 2}, subscription_id="t"
    )
    ack, first = (message.to("t") for message in live.start())
    assert [c["name"] for c in ack["schema"]] == ["id", "title", "done", "_seq", "_deleted"]
    assert ack["total_rows"] == 0
    assert ack["batch_control"] == first["batch_control"]
    assert first["batch_control"] == {
        "batch_num": 0,
        "has_more": True,
        "status": "loading",
        "last_seq_id": int(first["rows"][1]["_seq"]),
    }
    assert [r["id"] for r in first["rows"]] == ["1", "2"]
    todo.run("INSERT INTO app.todo VALUES (4, 'd', false)")
    assert live.poll() == []  # still loading
    second = live.next_batch(first["batch_control"]["last_seq_id"]).to("t")
    assert [r["id"] for r in second["rows"]] == ["3"]
    assert second["batch_control"]["status"] == "ready"
    todo.run("UPDATE app.todo SET title = 'd2' WHERE id = 4")
    todo.run("UPDATE app.todo SET done = true WHERE id = 4; DELETE FROM app.todo WHERE id = 1")
    messages = [orjson.loads(c.encode("t")) for c in live.poll()]
    assert [m["change_type"] for m in messages] == ["insert", "update", "delete", "delete"]
    assert list(messages[1]) == ["type", "subscription_id", "change_type", "rows", "old_values"]
    insert = messages[0]["rows"][0]
    assert insert == {"id": "4", "title": "d", "done": False, "_seq": insert["_seq"], "_deleted": False}
    update = messages[1]
    assert set(update["rows"][0]) == {"id", "title", "done", "_seq"}
    assert update["old_values"] == [{"id": "4", "title": "d", "_seq": insert["_seq"]}]
    assert messages[3]["old_values"][0]["_deleted"] is True
    assert messages[3]["old_values"][0]["title"] == "a"
    assert messages[0] == live_message(messages[0])


def live_message(message: dict[str, Any]) -> dict[str, Any]:
    """A change holds nothing but its own keys."""
    return {k: message[k] for k in ("type", "subscription_id", "change_type", "rows")}


def test_column_set_to_null_is_absent_from_rows_and_present_in_old_values(todo: Client) -> None:
    todo.run("INSERT INTO app.todo VALUES (1, 'a', false)")
    live = todo.kalam.subscribe(todo.session, "SELECT * FROM app.todo", {"last_rows": 0})
    todo.run("UPDATE app.todo SET title = NULL WHERE id = 1")
    (change,) = live.poll()
    assert change.rows is not None and "title" not in change.rows
    assert change.old_values is not None and change.old_values["title"] == "a"


def test_projection_carries_key_and_seq(todo: Client) -> None:
    live = todo.kalam.subscribe(todo.session, "SELECT title FROM app.todo", {})
    todo.run("INSERT INTO app.todo VALUES (1, 'a', false); UPDATE app.todo SET title = 'b' WHERE id = 1")
    insert, update = live.poll()
    assert insert.rows == {"title": "a", "_seq": str(insert.seq)}
    assert update.rows == {"id": "1", "title": "b", "_seq": str(update.seq)}
    assert update.old_values == {"id": "1", "title": "a", "_seq": str(insert.seq)}


def test_without_options_there_are_no_initial_rows(todo: Client) -> None:
    todo.run("INSERT INTO app.todo VALUES (1, 'a', false)")
    live = todo.kalam.subscribe(todo.session, "SELECT * FROM app.todo", None)
    (ack,) = live.start()
    assert ack.kind == "subscription_ack"
    assert ack.body["batch_control"] == {
        "batch_num": 0,
        "has_more": False,
        "status": "ready",
        "last_seq_id": None,
    }
    todo.run("INSERT INTO app.todo VALUES (2, 'b', false)")
    assert [c.change_type for c in live.poll()] == ["insert"]


def test_last_rows_are_the_newest_in_ascending_order(todo: Client) -> None:
    todo.run("INSERT INTO app.todo (id) VALUES (1), (2), (3)")
    live = todo.kalam.subscribe(todo.session, "SELECT id FROM app.todo", {"last_rows": 2})
    _, first = live.start()
    assert [r["id"] for r in first.body["rows"]] == ["2", "3"]


BEGINNINGS: list[tuple[str, Any]] = [
    ("SELECT * FROM app.todo", None),
    ("SELECT * FROM app.todo", {}),
    ("SELECT title FROM app.todo WHERE done = false", {"batch_size": 2}),
    ("SELECT id FROM app.todo", {"last_rows": 2}),
    ("SELECT id FROM app.todo ORDER BY title DESC LIMIT 2", {}),
    ("SELECT * FROM app.todo", {"from": 1}),
]


@pytest.mark.parametrize(("sql", "options"), BEGINNINGS)
def test_what_is_answered_at_once_is_what_waiting_gives(todo: Client, sql: str, options: Any) -> None:
    def told(name: str, *, at_once: bool) -> list[dict[str, Any]]:
        subscribe = todo.kalam.live.subscribe_at_once if at_once else todo.kalam.live.subscribe
        live = subscribe(todo.session, sql, options, subscription_id=name, connection_id=name)
        messages = list(live.start())
        if live.loading:
            messages.append(live.next_batch())
        return [m.to("s") for m in messages]

    for i, title in enumerate(("b", "a", "c")):  # each time something else is there
        todo.run("INSERT INTO app.todo VALUES ($1, $2, false)", i, title)
        first = told("1", at_once=title != "a")
        assert told("2", at_once=True) == told("3", at_once=False) == first


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM app.todo WHERE regexp_like(title, 'a')",
        "SELECT * FROM app.long",
        "SELECT * FROM ksql.s",
    ],
)
def test_what_takes_long_is_not_done_at_once(todo: Client, sql: str) -> None:
    todo.run("CREATE SHARED TABLE app.long (id BIGINT PRIMARY KEY)")
    todo.run("INSERT INTO app.long VALUES " + ", ".join(f"({i})" for i in range(200)))
    with pytest.raises(TakesLongError):
        todo.kalam.live.subscribe_at_once(todo.session, sql, {}, subscription_id="s", connection_id="c")
    assert todo.rows("SELECT live_id FROM system.live") == []
    if "app.long" in sql:  # unless somebody has just read it
        todo.kalam.live.subscribe(todo.session, sql, {}, subscription_id="t", connection_id="c")
        live = todo.kalam.live.subscribe_at_once(
            todo.session, sql, {}, subscription_id="s", connection_id="c"
        )
        assert len(live.start()[1].body["rows"]) == 200


def test_rolled_back_work_is_never_sent(todo: Client) -> None:
    live = todo.kalam.subscribe(todo.session, "SELECT id FROM app.todo", {})
    todo.run("BEGIN; INSERT INTO app.todo (id) VALUES (1); ROLLBACK")
    assert live.poll() == []


def test_changes_of_another_owner_are_not_seen(todo: Client, user: Any) -> None:
    alice, bob = user("alice"), user("bob")
    live = alice.kalam.subscribe(alice.session, "SELECT * FROM app.todo", {})
    bob.run("INSERT INTO app.todo (id) VALUES (1)")
    assert live.poll() == []
    todo.run("EXECUTE AS USER 'alice' (INSERT INTO app.todo (id) VALUES (2))")
    assert [c.rows["id"] for c in live.poll() if c.rows] == ["2"]


def test_live_query_goes_on_after_its_table_was_altered(todo: Client) -> None:
    live = todo.kalam.subscribe(todo.session, "SELECT * FROM app.todo WHERE done = false", {})
    todo.run("INSERT INTO app.todo VALUES (1, 'a', false)")
    todo.run("ALTER TABLE app.todo ADD COLUMN n INT DEFAULT 7")
    todo.run("INSERT INTO app.todo (id, done) VALUES (2, false); UPDATE app.todo SET n = 8 WHERE id = 1")
    first, second, third = live.poll()
    assert first.rows is not None and "n" not in first.rows
    assert second.rows is not None and second.rows["n"] == 7
    assert third.old_values is not None and third.old_values["n"] == 7


def test_one_change_is_encoded_once_for_all_subscribers_of_a_query(todo: Client) -> None:
    sql = "SELECT * FROM app.todo WHERE done = false"
    first = todo.kalam.subscribe(todo.session, sql, {})
    second = todo.kalam.subscribe(todo.session, "select * from app.todo where  done=false", {})
    todo.run("INSERT INTO app.todo VALUES (1, 'a', false)")
    assert first.poll()[0] is second.poll()[0]


def test_killed_live_query_stops_and_leaves_system_live(todo: Client) -> None:
    live = todo.kalam.subscribe(todo.session, "SELECT * FROM app.todo", {}, subscription_id="x")
    rows = todo.rows("SELECT live_id, subscription_id, table_name, status FROM system.live")
    assert rows == [(live.live_id, "x", "todo", "active")]
    assert todo.say(f"KILL LIVE QUERY '{live.live_id}'") == f"Live query killed: {live.live_id}"
    todo.run("INSERT INTO app.todo (id) VALUES (1)")
    assert live.poll() == []
    assert todo.rows("SELECT live_id FROM system.live") == []


@pytest.mark.parametrize(
    ("sql", "code", "text"),
    [
        ("SELECT id FROM app.todo; SELECT 1", "INVALID_SQL", "must contain exactly one SELECT statement"),
        ("DELETE FROM app.todo", "INVALID_SQL", "Only SELECT queries are supported for subscriptions"),
        ("SELECT id FROM app.todo GROUP BY id", "INVALID_SQL", "does not support GROUP BY. Only SELECT"),
        ("SELECT DISTINCT id FROM app.todo", "INVALID_SQL", "supports only SELECT ... FROM ... [WHERE ...]."),
        ("SELECT * FROM app.todo a JOIN app.todo b", "INVALID_SQL", "does not support JOIN clauses."),
        ("SELECT * FROM app.todo, app.x", "INVALID_SQL", "requires exactly one table in the FROM clause."),
        ("SELECT * FROM (SELECT 1)", "INVALID_SQL", "requires a direct table reference in FROM."),
        ("SELECT _seq FROM app.todo", "INVALID_SQL", "cannot project system columns '_seq' or '_deleted'."),
        ("SELECT * FROM todo", "INVALID_SQL", "Invalid SQL: Query must use namespace.table format"),
        ("SELECT * FROM app.nope", "NOT_FOUND", "Not found: Table not found: app:nope"),
        ("SELECT * FROM app.todo WHERE nope = 1", "SUBSCRIPTION_FAILED", "No field named nope"),
        ("SELECT id, nope FROM app.todo", "SUBSCRIPTION_FAILED", "No field named nope. Valid fields are id"),
        ("SELECT * FROM app.todo WHERE id = (SELECT max(id) FROM todo)", "SUBSCRIPTION_FAILED", "Subqueries"),
        ("SELECT * FROM app.todo WHERE title", "SUBSCRIPTION_FAILED", "non-boolean predicate"),
        ("SELECT 1", "INVALID_SQL", "requires exactly one table in the FROM clause."),
        ("SELECT FROM", "INVALID_SQL", "Invalid SQL: Parse error: Failed to parse SQL"),
    ],
)
def test_refused_live_queries(todo: Client, sql: str, code: str, text: str) -> None:
    with pytest.raises(KalamError) as caught:
        todo.kalam.subscribe(todo.session, sql, {})
    assert caught.value.code == code
    assert text in caught.value.message


def test_queries_for_one_value_are_not_polled_for_others(todo: Client) -> None:
    def live(where: str) -> LiveQuery:
        query = todo.kalam.subscribe(todo.session, f"SELECT * FROM app.todo WHERE {where}")
        query.start()
        return query

    queries = [live(f"id = {i}") for i in range(4)]
    queries += [live("title = 'b' AND done"), live("id = 1 OR id = 2"), live("id = 3.0"), live("id = NULL")]

    def concerned() -> list[int]:
        news = News()
        return [i for i, query in enumerate(queries) if news.concerns(query)]

    def told() -> list[int]:
        return [len(changes) for changes in poll_together(*queries)]

    todo.run("INSERT INTO app.todo VALUES (1, 'a', true), (3, 'c', true)")
    assert (concerned(), told()) == ([1, 3, 5, 6], [0, 1, 0, 1, 0, 1, 1, 0])
    todo.run("UPDATE app.todo SET title = 'b' WHERE id = 1")
    assert (concerned(), told()) == ([1, 4, 5], [0, 1, 0, 0, 1, 1, 0, 0])
    todo.run("UPDATE app.todo SET title = 'c' WHERE id = 1; DELETE FROM app.todo WHERE id = 3")
    assert (concerned(), told()) == ([1, 3, 4, 5, 6], [0, 1, 0, 1, 1, 1, 1, 0])
    todo.run("ALTER TABLE app.todo DROP COLUMN title; INSERT INTO app.todo VALUES (2, true)")
    assert len(concerned()) == len(queries)  # of another definition: they find out themselves
    assert told()[:4] == [0, 0, 1, 0]


def test_limits_of_a_remote_connection(todo: Client) -> None:
    for i in range(CONFIG.max_subscriptions_per_user):
        todo.kalam.subscribe(
            todo.session, "SELECT * FROM app.todo", {}, subscription_id=f"s{i}", connection_id="c"
        )
    with pytest.raises(KalamError) as caught:
        todo.kalam.subscribe(
            todo.session, "SELECT * FROM app.todo", {}, subscription_id="more", connection_id="c"
        )
    assert caught.value.code == "SUBSCRIPTION_LIMIT_EXCEEDED"
    todo.kalam.subscribe(todo.session, "SELECT id FROM app.todo", {}, subscription_id="s1", connection_id="c")


def test_reader_that_fell_behind_catches_up_without_loss_or_repetition(
    todo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kalam_jupyter.engine.relation.CHANGES_RETAINED", 3)
    live, replica = todo.kalam.subscribe(todo.session, "SELECT * FROM app.todo WHERE done = false", {}), {}
    for i in range(6):
        todo.run("INSERT INTO app.todo VALUES ($1, 'a', false)", i)
    for change in live.poll():
        replica[change.new[0]] = change.new
    for i in range(6, 12):
        todo.run("INSERT INTO app.todo VALUES ($1, 'a', false)", i)
    todo.run("DELETE FROM app.todo WHERE id = 1; UPDATE app.todo SET done = true WHERE id = 2")
    changes = live.poll()
    for change in changes:
        if change.new is None:
            replica.pop(change.old[0], None)
        else:
            replica[change.new[0]] = change.new
    assert sorted(replica) == [i for i in range(12) if i not in (1, 2)]
    assert len({c.seq for c in changes}) == len(changes)
    assert live.poll() == []


def test_stream_rows_expire_silently_and_deletes_carry_the_row_id(root: Client, clock: Clock) -> None:
    root.run("CREATE STREAM TABLE app.ev (id TEXT, v INT) WITH (TTL_SECONDS = 10)")
    live = root.kalam.subscribe(root.session, "SELECT * FROM app.ev", {})
    root.run("INSERT INTO app.ev VALUES ('a', 1), ('b', 2)")
    first, second = live.poll()
    assert first.rows == {"id": "a", "v": 1, "_seq": str(first.seq)}
    root.run("DELETE FROM app.ev WHERE id = 'b'")
    assert [c.old_values for c in live.poll()] == [{"row_id": f"root:{second.seq}"}]
    clock.advance(11_000)
    assert root.rows("SELECT id FROM app.ev") == []
    root.run("INSERT INTO app.ev VALUES ('c', 3)")
    assert [c.change_type for c in live.poll()] == ["insert"]
