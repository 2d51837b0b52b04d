from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest

import kalam_jupyter
from kalam_jupyter.client import AsyncConnection, AsyncStream, ClientError, Connection

SOURCE = (
    "CREATE STREAM o (id INT KEY, item STRING) WITH (KAFKA_TOPIC='o', VALUE_FORMAT='JSON', PARTITIONS=1);"
)
EARLIEST = {"auto.offset.reset": "earliest"}
WAIT_S = 30


async def test_statements_and_rows(connection):
    shop = AsyncConnection(connection)
    await shop.ksql(SOURCE)
    await shop.ksql("INSERT INTO o VALUES (1, 'tea');")
    assert (await shop.frame("o"))["ITEM"].tolist() == ["tea"]
    (result,) = await shop.kalam("SELECT item FROM ksql.o WHERE id = $1", [1])
    assert result.table.to_pylist() == [{"item": "tea"}]
    with pytest.raises(ClientError):
        await shop.ksql("SELECT * FROM nowhere;")


async def test_a_push_query_is_iterated(connection):
    shop = AsyncConnection(connection)
    await shop.ksql(SOURCE)
    async with await shop.push("SELECT id FROM o EMIT CHANGES LIMIT 3;", properties=EARLIEST) as rows:
        await shop.ksql("".join(f"INSERT INTO o VALUES ({i}, 'tea');" for i in range(3)))
        found = [row["ID"] async for changes in rows for row in changes.batch.to_pylist()]
    assert found == [0, 1, 2] and rows.stream.finished


async def test_a_live_query_is_iterated(connection):
    shop = AsyncConnection(connection)
    await shop.kalam("CREATE NAMESPACE IF NOT EXISTS shop")
    await shop.kalam("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED')")
    await shop.kalam("INSERT INTO shop.t (id, name) VALUES (1, 'tea')")
    async with await shop.live("SELECT id, name FROM shop.t") as rows:
        changes = aiter(rows)
        assert (await anext(changes)).batch.column("name").to_pylist() == ["tea"]
        await shop.kalam("INSERT INTO shop.t (id, name) VALUES (2, 'milk')")
        assert (await anext(changes)).batch.column("name").to_pylist() == ["milk"]


async def test_the_error_of_a_query_is_raised(connection):
    shop = AsyncConnection(connection)
    with pytest.raises(ClientError):
        await shop.push("SELECT * FROM nowhere EMIT CHANGES;")


async def test_a_cancelled_iteration_loses_no_row(connection):
    shop = AsyncConnection(connection)
    await shop.ksql(SOURCE)
    rows = await shop.push("SELECT id FROM o EMIT CHANGES;", properties=EARLIEST)
    waiting = asyncio.ensure_future(anext(aiter(rows)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await shop.ksql("INSERT INTO o VALUES (7, 'tea');")
    async with asyncio.timeout(WAIT_S):
        changes = await anext(aiter(rows))
    assert changes.batch.to_pylist() == [{"ID": 7}]
    await rows.close()


async def test_a_query_that_begins_after_its_caller_has_gone_is_ended():
    began, go_on = threading.Event(), threading.Event()
    made: list[Any] = []

    with kalam_jupyter.connect(":memory:") as connection:
        transport = connection._transport

        class Slow:
            def __getattr__(self, name):
                return getattr(transport, name)

            def ksql_query(self, *arguments):
                began.set()
                go_on.wait(WAIT_S)
                made.append(transport.ksql_query(*arguments))
                return made[0]

        shop = AsyncConnection(Connection(Slow()))
        await shop.ksql(SOURCE.replace("STREAM o", "STREAM IF NOT EXISTS gone"))
        task = asyncio.ensure_future(shop.push("SELECT * FROM gone EMIT CHANGES;"))
        await asyncio.to_thread(began.wait, WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        async with asyncio.timeout(WAIT_S):
            while not (made and made[0].stream.finished):
                await asyncio.sleep(0)


async def test_connect_async():
    async with await kalam_jupyter.connect_async(":memory:") as connection:
        assert repr(connection) == "AsyncConnection('embedded')"
    with pytest.raises(ClientError):
        await kalam_jupyter.connect_async("ftp://nowhere")


def test_every_verb_of_a_connection_can_be_awaited():
    verbs = {n for n, f in inspect.getmembers(Connection, inspect.isfunction) if not n.startswith("_")}
    for name in verbs:
        sync, awaited = getattr(Connection, name), getattr(AsyncConnection, name)
        assert inspect.iscoroutinefunction(awaited) and awaited.__doc__ == sync.__doc__
        assert inspect.signature(awaited).parameters == inspect.signature(sync).parameters


async def test_a_stream_of_a_result_is_iterated():
    with kalam_jupyter.connect(":memory:") as connection:
        shop = AsyncConnection(connection)
        await shop.ksql(SOURCE.replace("STREAM o", "STREAM IF NOT EXISTS once"))
        (result,) = await shop.ksql("SELECT * FROM once EMIT CHANGES LIMIT 0;")
        assert [c async for c in AsyncStream(result.stream)] == []
