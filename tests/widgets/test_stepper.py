from __future__ import annotations

from collections.abc import Iterator

import pytest

from kalam_jupyter.client import ClientError, Connection
from kalam_jupyter.client.inprocess import InProcessTransport
from kalam_jupyter.node import Node
from kalam_jupyter.widgets import Stepper
from kalam_jupyter.widgets.readable import readable

QUERY = "SELECT item, COUNT(*) AS n FROM o WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY item EMIT CHANGES;"
RECORDS = [
    {"id": 1, "item": "tea", "rowtime": 1_000},
    {"id": 2, "item": "<b>", "rowtime": 2_000},
    {"id": 3, "item": "tea", "rowtime": 3_000},
]


@pytest.fixture
def connection() -> Iterator[Connection]:
    with Node.open() as node, Connection(InProcessTransport(node)) as connection:
        connection.ksql(
            "CREATE STREAM o (id INT KEY, item STRING)"
            " WITH (KAFKA_TOPIC='o', VALUE_FORMAT='JSON', PARTITIONS=1);"
        )
        yield connection


@pytest.fixture
def stepper(connection) -> Stepper:
    return Stepper(QUERY, RECORDS, connection=connection)


def send(stepper: Stepper, message: dict) -> None:
    stepper._handle_custom_msg(message, [])


def test_the_browser_has_every_step_from_the_beginning(stepper):
    assert (stepper.position, [s["number"] for s in stepper.steps]) == (0, [1, 2, 3])
    assert [n["kind"] for n in stepper.nodes] == ["SOURCE", "GROUP_BY", "WINDOWED AGGREGATE", "PROJECT"]
    aggregate = stepper.steps[2]["operators"][2]
    (windows,) = aggregate["state"]
    assert windows["columns"] == ["ITEM", "WINDOWSTART", "WINDOWEND", "COUNT(*)", "ROWTIME"]
    assert windows["rows"][1] == ["tea", 0, 10_000, "2", 3_000]
    assert aggregate["outputs"][0]["window"] == [0, 10_000] and aggregate["streamTime"] == 3_000


def test_it_goes_forth_and_back(stepper):
    assert [stepper.step().number for _ in range(3)] == [1, 2, 3]
    assert stepper.step() is None
    stepper.back()
    assert stepper.position == 2 and len(stepper.seen) == 2
    frame = stepper.frame()
    assert frame["N"].tolist() == [1, 1] and frame["STEP"].tolist() == [1, 2]
    assert (frame["WINDOWEND"] > frame["ROWTIME"]).all() and (frame["WINDOWSTART"] <= frame["ROWTIME"]).all()


def test_before_the_first_record_the_frame_is_empty(stepper):
    assert list(stepper.frame().columns) == ["STEP", "ROWTIME", "DELETED"] and stepper.frame().empty


def test_the_browser_feeds_records(stepper):
    send(
        stepper,
        {"type": "feed", "source": "O", "values": {"`ID`": "4", "`ITEM`": "tea", "`ROWTIME`": "4000"}},
    )
    assert (stepper.position, stepper.error) == (4, "")
    assert stepper.seen[-1].outputs[0].value["N"] == 3


def test_a_record_that_does_not_fit_is_told_and_changes_nothing(stepper):
    send(stepper, {"type": "feed", "source": "O", "values": {"`ID`": "four"}})
    assert stepper.error == "ID is INTEGER, and 'four' is not" and len(stepper.steps) == 3
    send(stepper, {"type": "feed", "source": "O", "values": {"`ID`": "4"}})
    assert stepper.error == "" and len(stepper.steps) == 4


def test_its_saved_form_tells_the_story(stepper):
    data = stepper._saved()
    assert "windowed aggregate: opens a window" in data["text/html"] and "&lt;b&gt;" in data["text/html"]
    assert "ITEM=tea, N=2 [1970-01-01 00:00:00 – 1970-01-01 00:00:10]" in data["text/plain"]


def test_too_many_records_are_refused(connection):
    with pytest.raises(ClientError, match="1,001 records are too many"):
        Stepper(QUERY, [{"id": 1}] * 1_001, connection=connection)


def test_its_code_is_small(stepper):
    assert len(Stepper._esm) < 30_000 and len(Stepper._css) < 16_000


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("COUNT(ROWTIME) in TUMBLING windows of 60000 ms", "COUNT(*) in TUMBLING windows of 1 min"),
        ("COUNT(O_ROWTIME), SUM(X), grace 86400000 ms", "COUNT(*), SUM(X), grace 1 d"),
        ("windows of 90000 ms every 1500 ms", "windows of 1 min 30 s every 1 s 500 ms"),
        ("grace 0 ms", "grace 0 ms"),
        ("grace 86370000 ms", "grace 23 h 59 min 30 s"),
        ("LEFT STREAM_TABLE", "LEFT stream-table"),
    ],
)
def test_details_are_readable(detail, shown):
    assert readable(detail) == shown
