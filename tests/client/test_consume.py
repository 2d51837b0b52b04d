"""Consumer groups, over each transport."""

import pytest

from kalam_jupyter.client import ClientError, connect

TABLE = """
CREATE NAMESPACE kiosk;
CREATE TABLE kiosk.orders (id INT PRIMARY KEY, item TEXT) WITH (TYPE = 'SHARED');
CREATE TOPIC kiosk.kitchen;
ALTER TOPIC kiosk.kitchen ADD SOURCE kiosk.orders ON INSERT;
ALTER TOPIC kiosk.kitchen ADD SOURCE kiosk.orders ON DELETE WITH (payload = 'key');
"""
TOPIC = "kiosk.kitchen"


@pytest.fixture
def kitchen(connection):
    connection.kalam(TABLE)
    connection.kalam("INSERT INTO kiosk.orders VALUES (1, 'tea'), (2, 'cake'), (3, 'milk')")
    return connection


def items(messages):
    return [message.value["item"] for message in messages]


def test_messages_carry_what_happened(kitchen):
    kitchen.kalam("DELETE FROM kiosk.orders WHERE id = 2")
    first, *_, last = kitchen.consume(TOPIC, "a", start="earliest")
    assert (first.topic, first.partition, first.offset, first.key, first.op) == (TOPIC, 0, 0, "1", "insert")
    assert (first.value["id"], first.value["item"], first.user) == (1, "tea", None)
    assert (last.offset, last.op, last.value) == (3, "delete", {"id": 2})


def test_members_of_a_group_share_and_groups_do_not(kitchen):
    assert items(kitchen.consume(TOPIC, "a", start="earliest", limit=2)) == ["tea", "cake"]
    assert items(kitchen.consume(TOPIC, "a", start="earliest", limit=2)) == ["milk"]
    assert kitchen.consume(TOPIC, "a", start="earliest") == []
    assert items(kitchen.consume(TOPIC, "b", start=1)) == ["cake", "milk"]


def test_a_group_goes_on_after_what_it_acknowledged(kitchen):
    kitchen.consume(TOPIC, "a", start="earliest", limit=2)
    kitchen.acknowledge(TOPIC, "a", 0)
    (row,) = kitchen.kalam("SELECT group_id, last_acked_offset FROM system.topic_offsets")[
        0
    ].table.to_pylist()
    assert (row["group_id"], int(row["last_acked_offset"])) == ("a", 0)


def test_consume_waits_for_a_first_message(kitchen):
    assert kitchen.consume(TOPIC, "a", timeout=0.01) == []
    kitchen.kalam("INSERT INTO kiosk.orders VALUES (4, 'salt')")
    assert items(kitchen.consume(TOPIC, "a", timeout=5)) == ["salt"]


def test_topics_that_are_not_there_are_told(kitchen):
    for call in (
        lambda: kitchen.consume("kiosk.nope", "a"),
        lambda: kitchen.acknowledge("kiosk.nope", "a", 0),
    ):
        with pytest.raises(ClientError, match=r"Topic 'kiosk\.nope' does not exist"):
            call()
    for call in (
        lambda: kitchen.consume(TOPIC, "a", partition=7),
        lambda: kitchen.acknowledge(TOPIC, "a", 0, partition=7),
    ):
        with pytest.raises(ClientError, match=r"(?i)partition"):
            call()


def test_a_user_of_low_role_may_not_consume():
    with connect(":memory:") as root:
        root.kalam(TABLE + "CREATE USER 'ada' WITH PASSWORD 'lovelace' ROLE user;")
        with connect(":memory:", user="ada", password="lovelace") as ada:
            for call in (lambda: ada.consume(TOPIC, "a"), lambda: ada.acknowledge(TOPIC, "a", 0)):
                with pytest.raises(ClientError, match="role 'user'"):
                    call()
        root.node.close()
