"""Queries that call users' Python functions, over restarts: they wait, and lose and repeat nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kalam_jupyter
from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.functions.missing import signature_text
from kalam_jupyter.ksql.functions.python import forget
from kalam_jupyter.ksql.functions.signature import parse_signature

DEFINITIONS = """
CREATE STREAM s (id INT KEY, v INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON', PARTITIONS=1);
CREATE STREAM doubled AS SELECT id, twice(v) AS v FROM s;
CREATE TABLE longest AS SELECT id, widest(v) AS w FROM s GROUP BY id;
CREATE TABLE sums AS SELECT id, SUM(v) AS n FROM doubled GROUP BY id;
"""
NAMES = ("twice", "widest", "pieces")


def define_twice(factor: int = 2) -> None:
    @kalam_jupyter.udf("twice(x INT) -> INT")
    def twice(x: int) -> int:
        return x * factor


def define_widest() -> None:
    @kalam_jupyter.udaf("widest(x INT) -> INT")
    class Widest:
        def initial(self) -> Any:
            return None

        def add(self, state: Any, x: int) -> Any:
            return x if state is None else max(state, x)


class Session:
    def __init__(self, path: Path) -> None:
        self.engine = Engine.open(path)
        self.ksql = Ksql(self.engine)
        self.engine.start()

    def insert(self, *rows: tuple[int, int]) -> None:
        for key, value in rows:
            self.ksql.execute(f"INSERT INTO s (id, v) VALUES ({key}, {value});")
        assert self.engine.settle()

    def values(self, name: str) -> list[Any]:
        """The values of all records that the topic of a source holds."""
        assert self.engine.settle()
        source = self.ksql.metastore.sources[name]
        topic = self.engine.topic(source.topic)
        found: list[Any] = []
        for stored in topic.read(topic.start_sequence):
            found += stored.batch.typed(self.ksql.codec(source)).payload.values
        return [v[0] for v in found]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A data directory whose queries have run, and whose functions are gone."""
    define_twice()
    define_widest()
    session = Session(tmp_path)
    session.ksql.execute(DEFINITIONS)
    session.insert((1, 10), (1, 20))
    session.engine.close()
    forget(NAMES)
    yield tmp_path
    forget(NAMES)


@pytest.fixture
def session(path: Path) -> Iterator[Session]:
    session = Session(path)
    yield session
    session.engine.close()


def test_a_query_waits_for_its_function_and_says_for_which(session: Session) -> None:
    ksql = session.ksql
    states = {q["id"]: q["state"] for q in ksql.execute("SHOW QUERIES;")[0]["queries"]}
    assert states == {"CSAS_DOUBLED_1": "ERROR", "CTAS_LONGEST_2": "ERROR", "CTAS_SUMS_3": "RUNNING"}
    (error,) = ksql.execute("EXPLAIN CSAS_DOUBLED_1;")[0]["queryDescription"]["queryErrors"]
    assert "waits for the user-defined function TWICE" in error["errorMessage"]
    assert ksql.topology_data("CTAS_LONGEST_2")["error"].startswith("The query waits for the user-defined")


def test_its_sink_can_be_read_meanwhile(session: Session) -> None:
    session.insert((1, 30))
    assert session.ksql.query("SELECT * FROM doubled;").table().column("V").to_pylist() == [20, 40]
    fields = session.ksql.execute("DESCRIBE longest;")[0]["sourceDescription"]["fields"]
    assert [f["schema"]["type"] for f in fields] == ["INTEGER", "INTEGER"]


def test_it_goes_on_when_the_function_is_defined_without_a_loss_or_a_repetition(session: Session) -> None:
    session.insert((1, 30), (2, 5))
    define_twice()
    assert session.values("DOUBLED") == [20, 40, 60, 10]
    assert session.values("SUMS") == [20, 60, 120, 10]
    assert session.ksql.query_state("CTAS_LONGEST_2") == "ERROR"
    define_widest()
    assert session.values("LONGEST") == [10, 20, 30, 5]
    assert {session.ksql.query_state(q) for q in session.ksql.state.queries} == {"RUNNING"}


def test_several_restarts_lose_nothing(path: Path) -> None:
    for value in (30, 40):
        session = Session(path)
        session.insert((1, value))
        session.engine.close()
    define_twice()
    session = Session(path)
    assert session.values("DOUBLED") == [20, 40, 60, 80]
    session.engine.close()


def test_functions_that_are_there_before_the_engine_is_opened_are_found(path: Path) -> None:
    define_twice()
    define_widest()
    session = Session(path)
    assert session.ksql.queries.waiting == {}
    session.insert((1, 15))
    assert session.values("LONGEST") == [10, 20, 20]
    session.engine.close()


def test_new_statements_do_not_find_what_is_missing(session: Session) -> None:
    with pytest.raises(KsqlError, match="Can't find any functions with the name 'TWICE'"):
        session.ksql.execute("CREATE STREAM again AS SELECT id, twice(v) FROM s;")


def test_a_function_of_another_type_lets_the_query_wait_on(session: Session) -> None:
    @kalam_jupyter.udf("twice(x INT) -> STRING")
    def twice(x: int) -> str:
        return str(x)

    found = session.ksql.query_error("CSAS_DOUBLED_1")
    assert found is not None and "`DOUBLED` has the columns" in found.message
    forget(["twice"])
    define_twice()
    session.insert((1, 30))
    assert session.values("DOUBLED") == [20, 40, 60]


def test_a_waiting_query_can_be_paused_and_goes_on_only_when_resumed(session: Session) -> None:
    session.ksql.execute("PAUSE CSAS_DOUBLED_1;")
    define_twice()
    session.insert((1, 30))
    assert session.ksql.query_state("CSAS_DOUBLED_1") == "PAUSED"
    session.ksql.execute("RESUME CSAS_DOUBLED_1;")
    assert session.values("DOUBLED") == [20, 40, 60]


def test_a_waiting_query_can_be_terminated_and_its_table_dropped(session: Session) -> None:
    session.ksql.execute("TERMINATE CSAS_DOUBLED_1; DROP TABLE longest;")
    define_twice()
    define_widest()
    session.insert((1, 30))
    assert session.values("DOUBLED") == [20, 40]
    assert list(session.ksql.state.queries) == ["CTAS_SUMS_3"]


def test_a_terminated_query_s_sink_keeps_its_columns(path: Path) -> None:
    session = Session(path)
    session.ksql.execute("TERMINATE CSAS_DOUBLED_1;")
    session.engine.close()
    session = Session(path)
    assert [c.name for c in session.ksql.metastore.sources["DOUBLED"].schema] == ["ID", "V"]
    session.engine.close()


def test_a_waiting_query_cannot_be_replaced(session: Session) -> None:
    with pytest.raises(KsqlError, match="CSAS_DOUBLED_1 cannot be replaced: The query waits for"):
        session.ksql.execute("CREATE OR REPLACE STREAM doubled AS SELECT id, v FROM s;")


def test_an_insert_with_a_table_function_waits_too(tmp_path: Path) -> None:
    def define() -> None:
        @kalam_jupyter.udtf("pieces(x INT) -> INT")
        def pieces(x: int) -> list[int]:
            return [x, x]

    define()
    session = Session(tmp_path)
    session.ksql.execute(
        "CREATE STREAM s (id INT KEY, v INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON', PARTITIONS=1);"
        "CREATE STREAM o (id INT KEY, v INT) WITH (KAFKA_TOPIC='o', FORMAT='JSON', PARTITIONS=1);"
        "INSERT INTO o SELECT id, pieces(v) AS v FROM s;"
    )
    session.insert((1, 1))
    session.engine.close()
    forget(NAMES)
    session = Session(tmp_path)
    session.insert((1, 2))
    assert session.values("O") == [1, 1]
    define()
    assert session.values("O") == [1, 1, 2, 2]
    session.engine.close()
    forget(NAMES)


def test_an_engine_that_was_closed_is_not_woken(path: Path) -> None:
    session = Session(path)
    session.engine.close()
    define_twice()
    define_widest()


@pytest.mark.parametrize(
    "text",
    [
        "f(x INT) -> INT",
        "f(xs ARRAY<STRUCT<`a` DECIMAL(4, 2), b MAP<STRING, BYTES>>>) -> DECIMAL(4, 2)",
        "f(x DOUBLE, rest STRING..., literal k INT) -> ARRAY<DATE>",
        "f(x T, y ARRAY<T>) -> T",
        "f(x ANY, y DECIMAL, g LAMBDA(STRING) => INT) -> TIMESTAMP",
        "f() -> BOOLEAN",
    ],
)
def test_signatures_survive_as_text(text: str) -> None:
    signature = parse_signature(text)
    assert parse_signature(signature_text(signature)) == signature
