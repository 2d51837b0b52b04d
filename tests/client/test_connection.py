"""One interface: what statements, queries and streams give, over each transport."""

import pandas as pd
import pyarrow as pa
import pytest

from kalam_jupyter.client import DELETE, INSERT, UPDATE, ClientError, Connection
from kalam_jupyter.client.inprocess import InProcessTransport
from kalam_jupyter.node import Node
from tests.server.running import CONFIG

ORDERS = (
    "CREATE STREAM ORDERS (ID INT KEY, ITEM STRING, PRICE DOUBLE) "
    "WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);"
)
TOTALS = "CREATE TABLE TOTALS AS SELECT ITEM, COUNT(*) AS N FROM ORDERS GROUP BY ITEM;"
EARLIEST = {"auto.offset.reset": "earliest"}


def insert(connection, *rows):
    connection.ksql(
        "".join(f"INSERT INTO ORDERS VALUES ({i}, '{item}', {price});" for i, item, price in rows)
    )


def next_changes(stream):
    """The next changes; waits for them."""
    while (changes := stream.poll()) is None:
        assert not stream.finished, (stream.message, stream.error)
        assert stream.wait(20)
    return changes


def collect(stream, n):
    """Rows and kinds of the next n changes."""
    rows, kinds = [], []
    while len(rows) < n:
        changes = next_changes(stream)
        rows += changes.batch.to_pylist()
        kinds += changes.kinds.tolist()
    return rows, kinds


class TestKsql:
    def test_each_statement_with_an_answer_has_a_result(self, connection):
        results = connection.ksql(f"{ORDERS} LIST STREAMS;")
        assert [r.kind for r in results] == ["entity", "entity"]
        assert results[0].message == "Stream created"
        names = [s["name"] for s in results[1].entity["streams"]]
        assert "ORDERS" in names

    def test_a_pull_query_gives_rows(self, connection):
        connection.ksql(ORDERS)
        insert(connection, (1, "tea", 2.5), (2, "milk", 1.0))
        (result,) = connection.ksql("SELECT * FROM ORDERS")
        assert result.kind == "rows"
        assert result.table.to_pylist() == [
            {"ID": 1, "ITEM": "tea", "PRICE": 2.5},
            {"ID": 2, "ITEM": "milk", "PRICE": 1.0},
        ]
        frame = result.frame()
        assert isinstance(frame["PRICE"].dtype, pd.ArrowDtype)

    def test_a_script_mixes_statements_and_queries(self, connection):
        results = connection.ksql(
            f"SET 'auto.offset.reset' = 'earliest'; {ORDERS} INSERT INTO ORDERS VALUES (1, 'tea', 2.0);"
            f"-- the count\n{TOTALS} SELECT * FROM TOTALS; LIST TABLES;"
        )
        assert [r.kind for r in results] == ["entity", "entity", "rows", "entity"]
        assert results[2].table.to_pylist() == [{"ITEM": "tea", "N": 1}]
        assert results[2].key == ("ITEM",)

    def test_set_and_define_last(self, connection):
        connection.ksql("SET 'auto.offset.reset' = 'earliest'; DEFINE item = 'tea';")
        assert connection.session.properties == {"auto.offset.reset": "earliest"}
        connection.ksql(ORDERS)
        insert(connection, (1, "tea", 2.0), (2, "milk", 1.0))
        (result,) = connection.ksql("SELECT ID FROM ORDERS WHERE ITEM = '${item}';")
        assert result.table.to_pylist() == [{"ID": 1}]
        connection.ksql("UNSET 'auto.offset.reset'; UNDEFINE ITEM;")
        assert connection.session.properties == {}
        assert connection.session.variables == {}

    def test_an_error_points_into_the_script(self, connection):
        connection.ksql(ORDERS)
        with pytest.raises(ClientError) as refused:
            connection.ksql("LIST STREAMS;\n\n  SELECT * FRM ORDERS;")
        assert (refused.value.line, refused.value.code) == (3, "40001")
        assert refused.value.message.startswith("line 3:")

    def test_an_unknown_source_is_named(self, connection):
        with pytest.raises(ClientError, match="NOPE does not exist"):
            connection.ksql("SELECT * FROM NOPE EMIT CHANGES;")

    def test_a_failing_script_has_done_nothing(self, connection):
        with pytest.raises(ClientError):
            connection.ksql(f"{ORDERS} CREATE STREAM X AS SELECT NOPE FROM ORDERS;")
        (result,) = connection.ksql("LIST STREAMS;")
        assert "ORDERS" not in [s["name"] for s in result.entity["streams"]]

    def test_an_unclosed_quote_is_an_error(self, connection):
        with pytest.raises(ClientError) as refused:
            connection.ksql("INSERT INTO ORDERS VALUES ('x);")
        assert refused.value.line == 1

    def test_no_statement_gives_no_result(self, connection):
        assert connection.ksql(" ; -- nothing\n") == []


class TestPush:
    def test_rows_come_as_they_are_inserted(self, connection):
        connection.ksql(ORDERS)
        insert(connection, (1, "tea", 2.5))
        with connection.push("SELECT * FROM ORDERS EMIT CHANGES;", properties=EARLIEST) as stream:
            assert collect(stream, 1) == ([{"ID": 1, "ITEM": "tea", "PRICE": 2.5}], [INSERT])
            assert stream.poll() is None
            assert connection.streams == [stream]
            insert(connection, (2, "milk", 1.0), (3, "tea", 2.0))
            rows, _ = collect(stream, 2)
            assert [r["ID"] for r in rows] == [2, 3]
            assert stream.schema.names == ["ID", "ITEM", "PRICE"]
        assert stream.finished
        assert connection.streams == []

    def test_a_tables_rows_replace_each_other(self, connection):
        connection.ksql(f"SET 'auto.offset.reset' = 'earliest'; {ORDERS} {TOTALS}")
        insert(connection, (1, "tea", 2.5))
        with connection.push("SELECT ITEM, N FROM TOTALS EMIT CHANGES;") as stream:
            assert stream.key == ("ITEM",)
            assert collect(stream, 1) == ([{"ITEM": "tea", "N": 1}], [UPDATE])
            insert(connection, (2, "tea", 2.5))
            assert collect(stream, 1) == ([{"ITEM": "tea", "N": 2}], [UPDATE])

    def test_a_limit_ends_it(self, connection):
        connection.ksql(ORDERS)
        insert(connection, (1, "tea", 2.5), (2, "milk", 1.0))
        stream = connection.push("SELECT ID FROM ORDERS EMIT CHANGES LIMIT 1;", properties=EARLIEST)
        assert [c.batch.to_pylist() for c in stream] == [[{"ID": 1}]]
        assert (stream.finished, stream.message) == (True, "Limit Reached")

    def test_it_can_be_ended_by_statement(self, connection):
        connection.ksql(ORDERS)
        stream = connection.push("SELECT * FROM ORDERS EMIT CHANGES;")
        connection.ksql(f"TERMINATE {stream.id};")
        assert list(stream) == []

    def test_waking_calls_back(self, connection):
        from threading import Event

        connection.ksql(ORDERS)
        woken = Event()
        with connection.push("SELECT * FROM ORDERS EMIT CHANGES;") as stream:
            stream.on_wake(woken.set)
            assert stream.poll() is None
            insert(connection, (1, "tea", 2.5))
            assert woken.wait(20)
            assert collect(stream, 1)[0][0]["ID"] == 1

    def test_print_shows_records(self, connection):
        connection.ksql(ORDERS)
        insert(connection, (1, "tea", 2.5))
        with connection.push("PRINT 'orders' FROM BEGINNING LIMIT 1;") as stream:
            rows, _ = collect(stream, 1)
        assert any('"ITEM":"tea"' in row["RECORD"] for row in rows)

    def test_anything_else_is_refused(self, connection):
        connection.ksql(ORDERS)
        for sql in ("LIST STREAMS;", "SELECT * FROM ORDERS;"):
            with pytest.raises(ClientError, match="push query"):
                connection.push(sql)


class TestKalam:
    @pytest.fixture
    def users(self, connection):
        connection.kalam(
            "CREATE NAMESPACE app; CREATE TABLE app.users (id BIGINT PRIMARY KEY, name TEXT, score DOUBLE, "
            "born TIMESTAMP, price DECIMAL(6,2)) WITH (TYPE='USER')"
        )
        return connection

    def test_rows_and_messages(self, users):
        (inserted,) = users.kalam(
            "INSERT INTO app.users (id, name, price) VALUES ($1, $2, '2.50')", [7, "Ada"]
        )
        assert (inserted.kind, inserted.message, inserted.row_count) == ("message", "Inserted 1 row(s)", 1)
        (result,) = users.kalam("SELECT id, name FROM app.users WHERE id = $1", [7])
        assert (result.kind, result.key) == ("rows", ("id",))
        assert result.table.to_pylist() == [{"id": 7, "name": "Ada"}]

    def test_results_come_whole(self, users):
        if not getattr(users._transport, "ours", True):
            pytest.skip("a cluster cuts results at its own limit")
        values = ",".join(f"({i}, 'n{i}')" for i in range(1500))
        users.kalam(f"INSERT INTO app.users (id, name) VALUES {values}")
        (result,) = users.kalam("SELECT id FROM app.users")
        assert result.row_count == result.table.num_rows == 1500

    def test_unqualified_names_take_the_connections_namespace(self, users):
        users.namespace = "app"
        users.kalam("INSERT INTO users (id) VALUES (1)")
        assert users.kalam("SELECT id FROM users")[0].row_count == 1

    def test_an_error_carries_its_code(self, users):
        with pytest.raises(ClientError) as refused:
            users.kalam("SELECT * FROM app.nope")
        assert refused.value.code == "SQL_EXECUTION_ERROR"
        assert refused.value.status == 400
        assert "nope" in refused.value.message

    def test_a_live_query_follows_every_change(self, users):
        users.kalam("INSERT INTO app.users (id, name, score) VALUES (1, 'Ada', 0.5)")
        with users.live("SELECT id, name, score FROM app.users WHERE id < 10") as stream:
            changes = next_changes(stream)
            assert changes.initial
            assert stream.key == ("id",)
            assert changes.batch.to_pylist() == [{"id": 1, "name": "Ada", "score": 0.5}]
            users.kalam("INSERT INTO app.users (id, name) VALUES (2, 'Bob')")
            users.kalam("UPDATE app.users SET name = 'Ada L.' WHERE id = 1")
            users.kalam("INSERT INTO app.users (id, name) VALUES (20, 'too big')")
            users.kalam("DELETE FROM app.users WHERE id = 2")
            rows, kinds = collect(stream, 3)
            assert kinds == [INSERT, UPDATE, DELETE]
            assert rows == [
                {"id": 2, "name": "Bob", "score": None},
                {"id": 1, "name": "Ada L.", "score": 0.5},
                {"id": 2, "name": "Bob", "score": None},
            ]
        assert stream.finished

    def test_a_live_query_may_leave_the_past_out(self, users):
        users.kalam("INSERT INTO app.users (id) VALUES (1)")
        with users.live("SELECT id FROM app.users", initial=False) as stream:
            users.kalam("INSERT INTO app.users (id) VALUES (2)")
            assert collect(stream, 1) == ([{"id": 2}], [INSERT])

    def test_a_large_snapshot_arrives_whole(self, users):
        values = ",".join(f"({i})" for i in range(2500))
        users.kalam(f"INSERT INTO app.users (id) VALUES {values}")
        with users.live("SELECT id FROM app.users") as stream:
            rows, _ = collect(stream, 2500)
            assert sorted(r["id"] for r in rows) == list(range(2500))
            users.kalam("DELETE FROM app.users WHERE id = 7")
            assert collect(stream, 1) == ([{"id": 7}], [DELETE])

    def test_a_bad_live_query_is_refused(self, users):
        for sql, code in (("SELECT id FROM app.nope", "NOT_FOUND"), ("DELETE FROM app.users", "INVALID_SQL")):
            with pytest.raises(ClientError) as refused:
                users.live(sql)
            assert refused.value.code == code


class TestFrames:
    @pytest.fixture
    def connection(self, connection):
        """Frames go to our own engine only."""
        if not getattr(connection._transport, "ours", True):
            with pytest.raises(ClientError, match="our own server"):
                connection.stream_frame(self.FRAME, "flights")
            pytest.skip("a cluster takes no frames, and says so")
        return connection

    FRAME = pd.DataFrame(
        {
            "origin": ["JFK", "EWR", "JFK"],
            "delay": [5, 2, -1],
            "at": pd.to_datetime([3000, 1000, 2000], unit="ms"),
        }
    )

    def test_a_frame_becomes_a_stream_and_comes_back(self, connection):
        replay = connection.stream_frame(self.FRAME, "flights", key="origin", timestamp="at")
        assert (replay.done, replay.sent) == (True, 3)
        back = connection.frame("flights")
        assert back["DELAY"].tolist() == [2, -1, 5]
        (result,) = connection.ksql("SELECT ORIGIN, ROWTIME FROM FLIGHTS;")
        assert result.table.to_pylist()[0] == {"ORIGIN": "EWR", "ROWTIME": 1000}

    def test_a_rate_spreads_it_over_time(self, connection):
        replay = connection.stream_frame(self.FRAME, "flights", key="origin", rate=200)
        assert replay.wait(20)
        assert replay.sent == 3
        assert len(connection.frame("flights")) == 3

    def test_a_replay_can_be_stopped(self, connection):
        replay = connection.stream_frame(self.FRAME, "flights", rate=0.01)
        replay.stop()
        assert replay.wait(20)
        assert replay.sent <= 1

    def test_arrow_tables_do_as_well(self, connection):
        table = pa.table({"n": pa.array(range(1000), pa.int64())})
        connection.stream_frame(table, "numbers")
        assert connection.table("numbers").column("N").to_pylist() == list(range(1000))

    def test_fields_of_structs_keep_their_values_and_are_named_as_columns_are(self, connection):
        nested = [{"a": 1, "in it": {"c": "x"}}, None]
        connection.stream_frame(pd.DataFrame({"id": [1, 2], "nested": nested, "all": [nested, []]}), "s")
        named = {"A": 1, "in it": {"C": "x"}}
        assert connection.table("s").column("NESTED").to_pylist() == [named, None]
        assert connection.table("s").column("ALL").to_pylist() == [[named, None], []]

    def test_a_named_index_is_columns(self, connection):
        per_origin = self.FRAME.groupby("origin").agg({"delay": "sum"})
        connection.stream_frame(per_origin, "delays", key="origin")
        back = connection.table("delays")
        assert back.column_names == ["ORIGIN", "DELAY"]
        assert back.column("ORIGIN").to_pylist() == ["EWR", "JFK"]

    @pytest.mark.parametrize(
        ("frame", "why"),
        [
            (pd.DataFrame(), "no columns"),
            (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of the frame are named 'a'"),
            (pd.DataFrame({"c": [1, "a"]}), "column c with type object: Could not convert 'a'"),
        ],
    )
    def test_a_frame_that_is_no_table_is_refused(self, connection, frame, why):
        with pytest.raises(ClientError, match=why):
            connection.stream_frame(frame, "flights")

    def test_what_does_not_fit_is_refused(self, connection):
        for options in ({"key": "nope"}, {"timestamp": "nope"}, {"rate": 0}):
            with pytest.raises(ClientError):
                connection.stream_frame(self.FRAME, "flights", **options)

    def test_the_dialects_meet(self, connection):
        connection.stream_frame(self.FRAME, "flights", key="origin")
        connection.ksql(
            "SET 'auto.offset.reset'='earliest';"
            "CREATE TABLE PER_ORIGIN AS SELECT ORIGIN, COUNT(*) AS N FROM FLIGHTS GROUP BY ORIGIN;"
        )
        connection.ksql("SELECT * FROM PER_ORIGIN;")
        (result,) = connection.kalam("SELECT origin, n FROM ksql.per_origin ORDER BY origin")
        assert result.table.to_pylist() == [{"origin": "EWR", "n": 1}, {"origin": "JFK", "n": 2}]


class TestTables:
    FRAME = pd.DataFrame({"id": [1, 2, 2], "name": ["tea", "milk", "o'at"], "price": [2.5, None, 1.0]})

    def test_rows_of_a_frame_replace_rows_of_the_same_key_in_kalam(self, connection):
        assert connection.table_frame(self.FRAME, "shop.items", key="id") == 2
        connection.table_frame(pd.DataFrame({"id": [1], "name": ["mate"], "price": [9.0]}), "shop.items")
        rows = sorted(connection.table("shop.items").to_pylist(), key=lambda r: r["id"])
        assert rows == [
            {"id": 1, "name": "mate", "price": 9.0},
            {"id": 2, "name": "o'at", "price": 1.0},
        ]

    def test_many_rows_go_in_several_requests(self, connection):
        table = pa.table({"id": pa.array(range(1200), pa.int64())})
        assert connection.table_frame(table, "shop.many", key="id") == 1200
        (counted,) = connection.kalam("SELECT COUNT(*) AS n FROM shop.many")
        assert counted.table.to_pylist() == [{"n": 1200}]

    def test_what_does_not_fit_a_table_is_refused(self, connection):
        for name, key in (("shop.x", None), ("shop.x", "nope"), ("x", None), ("shop.x", "price")):
            with pytest.raises(ClientError):
                connection.table_frame(self.FRAME, name, key=key)
        assert connection.kalam("SELECT * FROM system.tables WHERE table_name = 'x'")[0].row_count == 0


def test_a_frame_becomes_a_ksql_table():
    with Node.open(kalam=CONFIG) as node, Connection(InProcessTransport(node)) as connection:
        assert connection.table_frame(TestTables.FRAME, "items", key="id") == 3
        connection.ksql("CREATE TABLE COPY AS SELECT * FROM ITEMS;")
        rows = connection.table("COPY").to_pylist()
        assert {r["ID"]: r["NAME"] for r in rows} == {1: "tea", 2: "o'at"}


class TestTopology:
    def test_a_statement_s(self, connection):
        connection.ksql(ORDERS)
        found = connection.topology("SELECT ID, ITEM FROM ORDERS WHERE PRICE > 1 EMIT CHANGES;")
        assert found["query_id"] == ""
        assert [n["records_out"] for n in found["nodes"]] == [None, None, None]
        assert found["edges"] == [["Source-0", "Filter-1"], ["Filter-1", "Project-2"]]
        assert found["nodes"][0]["topic"] == "orders"

    def test_a_running_query_s(self, connection):
        connection.ksql(ORDERS)
        connection.ksql(TOTALS)
        insert(connection, (1, "tea", 2.5), (2, "milk", 1.0))
        connection.ksql("SELECT * FROM TOTALS;")
        found = connection.topology("CTAS_TOTALS_1")
        assert (found["query_id"], found["state"], found["error"]) == ("CTAS_TOTALS_1", "RUNNING", "")
        sink = found["nodes"][-1]
        assert (sink["kind"], sink["label"], sink["topic"]) == ("SINK", "TOTALS", "TOTALS")
        assert sink["schema"] == "`ITEM` STRING KEY, `N` BIGINT"
        stores = [store for n in found["nodes"] for store in n["stores"]]
        assert stores == ["Aggregate-Aggregate-Materialize"]
        counted = {n["records_out"] for n in found["nodes"]}
        assert counted == ({2} if getattr(connection._transport, "ours", True) else {None})

    @pytest.mark.parametrize("query", ["CTAS_NOTHING_7", "LIST STREAMS;", "SELECT"])
    def test_what_is_no_query_has_none(self, connection, query):
        with pytest.raises(ClientError):
            connection.topology(query)


class TestWholeTables:
    ROWS = 2500

    @pytest.fixture
    def many(self, connection):
        connection.kalam("CREATE NAMESPACE big")
        connection.kalam("CREATE TABLE big.t (id BIGINT PRIMARY KEY, v TEXT) WITH (TYPE='SHARED')")
        for first in range(0, self.ROWS, 500):
            values = ", ".join(f"({i}, 'x{i}')" for i in range(first, first + 500))
            connection.kalam(f"INSERT INTO big.t VALUES {values}")
        return connection

    def test_a_table_is_never_cut(self, many):
        many.kalam("UPDATE big.t SET v = 'changed' WHERE id = 7")
        many.kalam("DELETE FROM big.t WHERE id = 8")
        table = many.table("big.t")
        assert table.column_names == ["id", "v"]
        found = dict(zip(*table.to_pydict().values(), strict=True))
        expected = {i: f"x{i}" for i in range(self.ROWS) if i != 8} | {7: "changed"}
        assert (table.num_rows, found) == (len(expected), expected)
