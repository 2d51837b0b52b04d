"""A dialect on an engine in memory, for tests of statements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    engine = Engine.open()
    dialect = Ksql(engine)
    engine.start()
    yield dialect
    engine.close()
