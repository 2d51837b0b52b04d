"""An interrupt in the main thread never tears the engine's state."""

import _thread
import signal
import threading

import pytest

from kalam_jupyter.client import Connection
from kalam_jupyter.client.inprocess import InProcessTransport
from kalam_jupyter.node import Node
from tests.server.running import CONFIG


def interrupted(interrupt, work):
    """Do `work` while another thread interrupts this one."""
    threading.Thread(target=interrupt).start()
    work()


def test_an_interrupted_statement_leaves_a_working_engine():
    with Node.open(kalam=CONFIG) as node, Connection(InProcessTransport(node)) as connection:
        connection.kalam("CREATE NAMESPACE app; CREATE TABLE app.t (id INT PRIMARY KEY) WITH (TYPE='USER')")
        release = threading.Event()
        held = node.engine.submit(lambda tx: release.wait(20))
        with pytest.raises(KeyboardInterrupt):
            interrupted(_thread.interrupt_main, lambda: connection.kalam("INSERT INTO app.t VALUES (1)"))
        release.set()
        held.result(20)
        connection.kalam("INSERT INTO app.t VALUES (2)")
        ids = connection.table("app.t").column("id").to_pylist()
        assert ids in ([2], [1, 2])


def test_a_query_whose_caller_was_interrupted_is_ended():
    with Node.open(kalam=CONFIG) as node, Connection(InProcessTransport(node)) as connection:
        connection.ksql("CREATE STREAM S (A INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);")
        begun, release = threading.Event(), threading.Event()
        transport = connection._transport

        def start():
            begun.set()
            release.wait(20)
            return transport.ksql_query("SELECT * FROM S EMIT CHANGES;", {}, {})

        def interrupt():
            begun.wait(20)
            _thread.interrupt_main()

        ended = threading.Event()

        def abandon(result):
            result.stream.close()
            ended.set()

        with pytest.raises(KeyboardInterrupt):
            interrupted(interrupt, lambda: transport._run(start, abandon))
        release.set()
        assert ended.wait(20)
        assert node.ksql.transient_queries() == []


def test_an_interrupt_ends_the_select_that_runs():
    with Node.open(kalam=CONFIG) as node, Connection(InProcessTransport(node)) as connection:
        begun, ended = threading.Event(), threading.Event()
        worker = connection._transport._workers
        submit = worker.submit

        def watched(work, *args):
            future = submit(work, *args)
            future.add_done_callback(lambda _: ended.set())
            begun.set()
            return future

        worker.submit = watched

        def interrupt():
            begun.wait(20)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # wakes it, too

        with pytest.raises(KeyboardInterrupt):
            interrupted(
                interrupt,
                lambda: connection.kalam("SELECT sum(value) FROM generate_series(1, 1000000000000)"),
            )
        assert ended.wait(60)
