"""Topics: sources, payload modes, consumer groups."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalam_jupyter.engine import Clock
from kalam_jupyter.kalam.errors import StatementError
from kalam_jupyter.kalam.topic_claims import Claims
from kalam_jupyter.kalam.topics import Consumed
from tests.kalam.conftest import Client


@pytest.fixture
def events(root: Client) -> Client:
    root.run("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, s TEXT, n INT); CREATE TOPIC app.ev")
    return root


def sources(client: Client, *operations: str, rest: str = "") -> None:
    for operation in operations:
        client.run(f"ALTER TOPIC app.ev ADD SOURCE app.t ON {operation} {rest}")


def consume(client: Client, group: str | None = "g", **options: Any) -> Consumed:
    return client.kalam.topics.consume("app.ev", group, **{"start": "earliest", **options})


def payloads(found: Consumed) -> list[dict[str, Any]]:
    return [orjson.loads(m.payload) for m in found.messages]


def change_some(client: Client) -> None:
    client.run("INSERT INTO app.t VALUES (1, 'a', 1), (2, 'b', 2)")
    client.run("UPDATE app.t SET n = 5 WHERE id = 1")
    client.run("DELETE FROM app.t WHERE id = 2")


def test_messages_say_who_did_what(events: Client) -> None:
    assert (
        events.say("ALTER TOPIC app.ev ADD SOURCE app.t ON INSERT")
        == "Added source app.t ON Insert to topic 'app.ev'"
    )
    sources(events, "UPDATE", "DELETE")
    change_some(events)
    found = consume(events)
    assert [(m.offset, m.key, m.op, m.user) for m in found.messages] == [
        (0, "1", "insert", None),
        (1, "2", "insert", None),
        (2, "1", "update", None),
        (3, "2", "delete", None),
    ]
    assert (found.next_offset, found.has_more) == (4, False)
    row = payloads(found)[2]
    assert list(row) == ["id", "s", "n", "_seq", "_commit_seq", "_deleted", "_table"]
    assert (row["id"], row["n"], row["_deleted"], row["_table"]) == ("1", 5, False, "app:t")
    assert isinstance(row["_seq"], str) and isinstance(row["_commit_seq"], str)
    assert payloads(found)[3]["_deleted"] is True


def test_payload_modes(events: Client) -> None:
    sources(events, "INSERT", rest="WITH (payload = 'key')")
    sources(events, "UPDATE", "DELETE", rest="WITH (payload = 'diff')")
    change_some(events)
    key, _, diff, gone = payloads(consume(events))
    assert key == {"id": "1"}
    assert (diff["id"], diff["n"], diff["_old"]) == ("1", 5, {"n": 1})
    assert "s" not in diff
    assert set(gone) == {"id", "_seq", "_commit_seq", "_deleted", "_table"}


@pytest.mark.parametrize("where", ["n > 1", "n IN (SELECT 2)", "abs(n) = 2"])
def test_filter_of_a_source_is_honoured(events: Client, where: str) -> None:
    if "SELECT" in where:
        sources(events, "INSERT", rest="WHERE n BETWEEN 2 AND 3")
    else:
        sources(events, "INSERT", rest=f"WHERE {where}")
    change_some(events)
    assert [p["id"] for p in payloads(consume(events))] == ["2"]


def test_rolled_back_changes_publish_nothing(events: Client) -> None:
    sources(events, "INSERT")
    events.run("BEGIN; INSERT INTO app.t VALUES (1, 'a', 1); ROLLBACK")
    assert consume(events).messages == []


def test_user_tables_name_the_owner_if_there_is_one(root: Client, user: Callable[..., Client]) -> None:
    root.run("CREATE USER TABLE app.t (id INT PRIMARY KEY); CREATE TOPIC app.ev PARTITIONS 3")
    sources(root, "INSERT")
    user("alice").run("INSERT INTO app.t VALUES (1)")
    user("bob")
    for name in ("bob", "nobody"):
        root.run(f"EXECUTE AS USER '{name}' (INSERT INTO app.t VALUES (1))")
    found = [m for p in range(3) for m in consume(root, partition=p).messages]
    assert [m.user for m in found] == ["alice", "bob", None]
    assert len({m.partition for m in found}) == 1  # the same key


def test_messages_of_streams_have_the_primary_key_if_there_is_one(root: Client) -> None:
    root.run("CREATE STREAM TABLE app.keyed (id INT PRIMARY KEY) WITH (TTL_SECONDS = 60)")
    root.run("CREATE STREAM TABLE app.bare (id INT) WITH (TTL_SECONDS = 60); CREATE TOPIC app.ev")
    for name in ("keyed", "bare"):
        root.run(f"ALTER TOPIC app.ev ADD SOURCE app.{name} ON INSERT; INSERT INTO app.{name} VALUES (1)")
    keyed, bare = consume(root).messages
    assert (keyed.key, bare.key) == ("1", orjson.loads(bare.payload)["_seq"])
    assert list(orjson.loads(keyed.payload)) == ["id", "_seq", "_table"]


def test_group_gets_each_message_once_until_its_claim_expires(events: Client, clock: Clock) -> None:
    sources(events, "INSERT")
    events.run("INSERT INTO app.t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    assert [m.offset for m in consume(events, limit=2).messages] == [0, 1]
    assert [m.offset for m in consume(events, limit=2).messages] == [2]
    assert consume(events).messages == []
    assert events.kalam.topics.acknowledge("app.ev", "g", 0, 0) == 0
    clock.advance(61_000)
    assert [m.offset for m in consume(events).messages] == [1]
    assert [m.offset for m in consume(events).messages] == [2]
    assert consume(events).messages == []
    events.kalam.topics.acknowledge("app.ev", "g", 0, 2)
    events.kalam.topics.acknowledge("app.ev", "g", 0, 1)  # never back
    assert events.rows(
        "SELECT topic_id, group_id, partition_id, last_acked_offset FROM system.topic_offsets"
    ) == [("app.ev", "g", 0, 2)]
    ((acknowledged,),) = events.rows("SELECT CAST(updated_at AS BIGINT) FROM system.topic_offsets")
    assert acknowledged == clock.now_ms()
    assert [m.offset for m in consume(events, "other").messages] == [0, 1, 2]


STEPS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 4)),
    st.tuples(st.just("consume"), st.integers(0, 4)),
    st.tuples(st.just("acknowledge"), st.integers(0, 12)),
    st.tuples(st.just("wait"), st.sampled_from([1_000, 59_999, 60_000])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=20))
def test_a_group_is_handed_what_is_neither_held_nor_acknowledged(steps: list[tuple[str, int]]) -> None:
    """The first of what expired, in one run, else what was never handed out."""
    claims, now, end = Claims(0), 0, 0
    held: dict[int, int] = {}  # offset -> until when
    fresh = done = 0
    for step, n in steps:
        if step == "publish":
            end += n
        elif step == "wait":
            now += n
        elif step == "acknowledge" and n < end:
            claims.release(n)
            done, fresh = max(done, n + 1), max(fresh, n + 1)
        elif step == "consume":
            expired = sorted(o for o, until in held.items() if o >= done and until <= now)
            begin, stop = claims.next(now, n)
            taken = range(begin, min(begin + n, end) if stop is None else stop)
            if expired and n:
                assert taken[0] == expired[0]
                assert set(taken) <= set(expired)
            else:
                assert (begin, stop) == (fresh, None)
            if taken:
                claims.hand_out(taken.start, taken.stop, now + 60_000)
                fresh = max(fresh, taken.stop)
            held.update(dict.fromkeys(taken, now + 60_000))
    assert claims.cursor == fresh


def test_latest_pins_the_cursor_on_a_quiet_topic(events: Client) -> None:
    sources(events, "INSERT")
    events.run("INSERT INTO app.t VALUES (1, 'a', 1)")
    assert consume(events, start="latest").messages == []
    events.run("INSERT INTO app.t VALUES (2, 'b', 2)")
    assert [m.offset for m in consume(events, start="latest").messages] == [1]


def test_consume_waits_for_a_first_message(events: Client) -> None:
    sources(events, "INSERT")
    found: list[Consumed] = []
    reader = threading.Thread(target=lambda: found.append(consume(events, timeout=30)))
    reader.start()
    events.run("INSERT INTO app.t VALUES (1, 'a', 1)")
    reader.join(timeout=30)
    assert [m.offset for m in found[0].messages] == [0]


def test_a_consumer_that_waits_is_told_when_the_topic_is_cleared_or_gone(events: Client) -> None:
    sources(events, "INSERT")
    events.run("INSERT INTO app.t VALUES (1, 'a', 1)")
    topic = events.kalam.topics.topic("app.ev")
    assert len(consume(events).messages) == 1
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(consume, events, timeout=30)
        while not topic.cursors():
            pass
        events.run("CLEAR TOPIC app.ev")
        events.kalam.jobs.drain()
        events.run("DROP TOPIC app.ev; CREATE TOPIC app.ev")
        with pytest.raises(StatementError, match="Topic 'app\\.ev' does not exist"):
            waiting.result(30)
    sources(events, "INSERT")
    events.run("INSERT INTO app.t VALUES (2, 'b', 2)")
    assert [m.offset for m in consume(events).messages] == [0]


def test_consume_statement_commits_by_itself(events: Client) -> None:
    sources(events, "INSERT")
    events.run("INSERT INTO app.t VALUES (1, 'a', 1), (2, 'b', 2)")
    rows = events.rows("CONSUME FROM app.ev GROUP 'g' FROM EARLIEST LIMIT 1 START EARLIEST")
    assert [(r[0], r[1], r[2], r[3], r[7]) for r in rows] == [("app.ev", 0, 0, "1", "insert")]
    assert [r[2] for r in events.rows("CONSUME FROM app.ev GROUP 'g' FROM EARLIEST")] == [1]
    assert events.rows("ACK app.ev GROUP 'h' UPTO OFFSET 0") == [("app.ev", "h", 0, 0)]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("CREATE TOPIC ev", "Topic name must be namespace-qualified: <namespace>.<topic>"),
        ("CREATE TOPIC none.ev", "Namespace 'none' does not exist"),
        ("CREATE TOPIC app.ev", "Topic 'app.ev' already exists"),
        (
            "ALTER TOPIC app.ev ADD SOURCE app.t ON INSERT",
            "Route for app.t ON Insert already exists in topic 'app.ev'",
        ),
        ("ALTER TOPIC app.ev ADD SOURCE app.t ON UPDATE WHERE nope = 1", "No field named nope"),
        ("DROP TOPIC app.nope", "Topic 'app.nope' does not exist"),
        ("CONSUME FROM app.nope", "Not found: Topic 'app.nope' does not exist"),
    ],
)
def test_topic_errors(events: Client, sql: str, text: str) -> None:
    sources(events, "INSERT")
    assert text in events.error(sql).message


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE app.t RENAME COLUMN n TO m",
        "ALTER TABLE app.t DROP COLUMN n",
        "CREATE SHARED TABLE app.later (id INT PRIMARY KEY)",
    ],
)
def test_a_definition_that_the_condition_of_a_source_does_not_fit_is_refused(
    events: Client, sql: str
) -> None:
    sources(events, "INSERT", rest="WHERE n > 1")
    events.run("ALTER TOPIC app.ev ADD SOURCE app.later ON INSERT WHERE n > 1")
    message = events.error(sql).message
    assert "Topic 'app.ev' takes rows of app." in message
    assert "WHERE n > 1: Schema error: No field named n." in message
    change_some(events)
    assert [p["id"] for p in payloads(consume(events))] == ["2"]


def test_ordinary_users_consume_nothing(events: Client, user: Callable[..., Client]) -> None:
    alice = user("alice")
    assert (
        alice.error("CONSUME FROM app.ev").message
        == "Only service, dba, or system roles can consume from topics"
    )
    assert alice.error("CREATE TOPIC app.x").status == 403


def test_a_dropped_namespace_takes_its_topics_along(events: Client) -> None:
    events.run("CREATE NAMESPACE other; CREATE TOPIC other.t; DROP NAMESPACE app")
    assert events.rows("SELECT topic_id FROM system.topics") == [("other.t",)]
    events.run("CREATE NAMESPACE app; CREATE TOPIC app.events")
    assert events.rows("CONSUME FROM app.events FROM EARLIEST") == []


def test_cleared_topic_goes_on_with_its_offsets(events: Client) -> None:
    sources(events, "INSERT")
    events.run("INSERT INTO app.t VALUES (1, 'a', 1)")
    said = events.say("CLEAR TOPIC app.ev")
    assert said is not None and said.startswith("Scheduled cleanup job [TC-")
    events.run("INSERT INTO app.t VALUES (2, 'b', 2)")
    assert [m.offset for m in consume(events).messages] == [1]
    said = events.say("DROP TOPIC app.ev")
    assert said is not None and said.startswith("Dropped topic 'app.ev' and scheduled cleanup job [TC-")
    assert events.say("INSERT INTO app.t VALUES (3, 'c', 3)") == "Inserted 1 row(s)"
