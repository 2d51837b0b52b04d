"""Seeded example data."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kalam_jupyter
from kalam_jupyter.client import Connection
from kalam_jupyter.client.inprocess import InProcessTransport
from kalam_jupyter.generators import GENERATORS
from kalam_jupyter.ksql.lang import parse_schema
from kalam_jupyter.node import Node


@settings(max_examples=20)
@given(st.sampled_from(sorted(GENERATORS)), st.integers(0, 200), st.integers(0, 2**32))
def test_a_seed_gives_the_same_rows_in_event_time(name, rows, seed):
    frame = kalam_jupyter.generate(name, rows=rows, seed=seed)
    pd.testing.assert_frame_equal(frame, kalam_jupyter.generate(name, rows=rows, seed=seed))
    assert len(frame) == rows
    assert frame["event_time"].is_monotonic_increasing and not frame.isna().any().any()
    assert GENERATORS[name][1] in frame.columns


def test_another_seed_gives_other_rows():
    one, other = (kalam_jupyter.generate("orders", rows=50, seed=seed) for seed in (1, 2))
    assert not one.equals(other)


def test_a_rate_replays_them_into_a_stream():
    with Node.open() as node, Connection(InProcessTransport(node)) as connection:
        replay = kalam_jupyter.generate("sensors", rows=20, rate=2_000, connection=connection)
        assert replay.wait(30)
        assert len(connection.frame("sensors")) == 20
        (result,) = connection.ksql("SELECT ROWTIME, SENSOR_ID FROM SENSORS LIMIT 1;")
        assert result.table.to_pylist()[0]["ROWTIME"] > 1_704_067_200_000


def test_every_generator_fits_a_stream():
    with Node.open() as node, Connection(InProcessTransport(node)) as connection:
        for name in GENERATORS:
            replay = kalam_jupyter.generate(name, rows=5, stream=f"my_{name}", connection=connection)
            assert (replay.done, replay.sent) == (True, 5)


def test_an_unknown_generator_says_which_there_are():
    with pytest.raises(ValueError, match="orders, pageviews"):
        kalam_jupyter.generate("ordrs")


@pytest.mark.parametrize("name", list(GENERATORS))
def test_no_column_is_a_reserved_word(name):
    for column in kalam_jupyter.generate(name, rows=1).columns:
        parse_schema(f"{column} STRING")
