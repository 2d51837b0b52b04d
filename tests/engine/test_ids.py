"""Identifiers grow strictly, whatever the clock does."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import Clock
from kalam_jupyter.engine import ids as ids_module
from kalam_jupyter.engine.ids import KALAM_EPOCH_MS, UNIX_EPOCH_MS, Snowflake, ulid, uuid7

NOW = 1_750_000_000_000


@given(st.lists(st.integers(-5, 5), max_size=30), st.integers(1, 5000))
def test_snowflakes_grow_when_the_clock_stands_still_or_goes_back(steps: list[int], burst: int) -> None:
    clock = Clock(NOW)
    ids = Snowflake(clock, worker=7)
    made = ids.take(burst)
    for step in steps:
        clock.set(clock.now_ms() + step)
        made.append(ids.next())
    assert all(a < b for a, b in itertools.pairwise(made))
    assert all((i >> 12) & 1023 == 7 for i in made)


def test_a_snowflake_carries_its_time_in_either_epoch() -> None:
    for epoch in (KALAM_EPOCH_MS, UNIX_EPOCH_MS):
        ids = Snowflake(Clock(NOW), epoch)
        first = ids.next()
        assert first >> 22 == NOW - epoch and ids.timestamp_ms(first) == NOW
        assert first < 1 << 63


def test_snowflakes_go_on_after_one_that_was_seen() -> None:
    clock = Clock(NOW)
    seen = Snowflake(clock).take(5)[-1]
    clock.set(NOW - 1_000)
    ids = Snowflake(clock)
    ids.advance_past(seen)
    assert ids.next() > seen


def test_ulids_and_uuids_sort_as_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids_module, "_uuid7", ids_module._Monotonic(74))  # another test's may be ahead of NOW
    ulids = [ulid(NOW) for _ in range(1_000)]
    assert ulids == sorted(set(ulids)) and {len(u) for u in ulids} == {26}
    uuids = [uuid7(NOW) for _ in range(1_000)]
    assert [u.hex for u in uuids] == sorted({u.hex for u in uuids})
    assert {(u.version, u.variant) for u in uuids} == {(7, "specified in RFC 4122")}
    assert uuids[0].int >> 80 in (NOW, NOW + 1)
