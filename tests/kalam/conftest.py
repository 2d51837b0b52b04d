"""A KalamDB on an engine in memory, and short ways to ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.kalam import Kalam, KalamConfig, KalamError, Result, Session
from kalam_jupyter.kalam.serialize import result_rows

CONFIG = KalamConfig(bcrypt_cost=4)
#: 2026-01-01T00:00:00Z
START_MS = 1_767_225_600_000


class Client:
    """One user's statements."""

    def __init__(self, kalam: Kalam, session: Session) -> None:
        self.kalam, self.session = kalam, session

    def run(self, sql: str, *params: Any, **options: Any) -> list[Result]:
        return self.kalam.execute(self.session, sql, params=params, **options)

    def one(self, sql: str, *params: Any, **options: Any) -> Result:
        (result,) = self.run(sql, *params, **options)
        return result

    def say(self, sql: str, *params: Any) -> str | None:
        return self.one(sql, *params).message

    def rows(self, sql: str, *params: Any, **options: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.one(sql, *params, **options).rows()]

    def json(self, sql: str, *params: Any) -> list[list[Any]]:
        return result_rows(self.one(sql, *params))

    def error(self, sql: str, *params: Any) -> KalamError:
        with pytest.raises(KalamError) as caught:
            self.run(sql, *params)
        return caught.value


class OwnKalam(Client):
    """A KalamDB with processors that run, for laws: all cases of one share it."""

    def __init__(self) -> None:
        self.engine = Engine.open()
        self.engine.start()
        kalam = Kalam(self.engine, CONFIG)
        super().__init__(kalam, kalam.session("root"))
        self.run("CREATE NAMESPACE app")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kalam.close()
        self.engine.close()


@pytest.fixture
def clock() -> Clock:
    return Clock(START_MS)


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    with Engine.open(clock=clock) as engine:
        yield engine


@pytest.fixture
def kalam(engine: Engine) -> Iterator[Kalam]:
    kalam = Kalam(engine, CONFIG)
    yield kalam
    kalam.close()


@pytest.fixture
def root(kalam: Kalam) -> Client:
    client = Client(kalam, kalam.session("root"))
    client.run("CREATE NAMESPACE app")
    return client


@pytest.fixture
def user(root: Client) -> Callable[..., Client]:
    """Make a user and return its client."""

    def make(name: str, role: str = "user") -> Client:
        root.run(f"CREATE USER '{name}' WITH PASSWORD 'Secret-1!' ROLE {role}")
        return Client(root.kalam, root.kalam.session(name))

    return make


@pytest.fixture
def items(root: Client) -> Client:
    """Somebody with a table ``shop.items``."""
    root.run(
        "CREATE NAMESPACE shop; "
        "CREATE TABLE shop.items (id INT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), tags JSON, "
        "at TIMESTAMP DEFAULT NOW()) WITH (TYPE='SHARED', ACCESS_LEVEL='PUBLIC')"
    )
    return root
