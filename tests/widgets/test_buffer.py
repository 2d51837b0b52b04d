from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.client import DELETE, INSERT, UPDATE
from kalam_jupyter.widgets.buffer import AppendBuffer, UpsertBuffer, make_buffer

from .streams import SCHEMA, changes

ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 99)), max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), ROWS, st.randoms(use_true_random=False)),
        st.tuples(st.just("take"), st.integers(1, 5), st.none()),
        st.tuples(st.just("rewind"), st.none(), st.none()),
    ),
    max_size=30,
)


def rows_of(table: pa.Table) -> list[tuple]:
    return list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


class Browser:
    """What the JavaScript side does with frames."""

    def __init__(self, keyed: bool) -> None:
        self.keyed, self.rows, self.by_key = keyed, [], {}

    def apply(self, frame) -> None:
        if frame.reset:
            self.rows, self.by_key = [], {}
        for row in rows_of(frame.table):
            if not self.keyed:
                self.rows.append(row)
            elif frame.deletes and row[-1]:
                self.by_key.pop(row[0], None)
            else:
                self.by_key[row[0]] = row[: len(SCHEMA)]


def test_append_keeps_the_last_rows_and_says_how_many_were_left_out():
    buffer = AppendBuffer(SCHEMA, capacity=3)
    buffer.add(changes([("a", i) for i in range(10)]))
    frame = buffer.take(limit=100)
    assert [row[1] for row in rows_of(frame.table)] == [7, 8, 9]
    assert (buffer.rows_in, buffer.conflated) == (10, 7)
    assert rows_of(buffer.table()) == rows_of(frame.table)


def test_append_sends_each_row_once():
    buffer = AppendBuffer(SCHEMA, capacity=100)
    buffer.add(changes([("a", 1), ("a", 2)]))
    first = buffer.take(10)
    buffer.add(changes([("a", 3)]))
    second = buffer.take(10)
    assert first.reset and not second.reset
    assert [r[1] for r in rows_of(first.table)] == [1, 2]
    assert [r[1] for r in rows_of(second.table)] == [3]
    assert buffer.take(10) is None and not buffer.pending


def test_append_joins_many_small_batches():
    buffer = AppendBuffer(SCHEMA, capacity=10_000)
    for i in range(1_000):
        buffer.add(changes([("a", i)]))
    assert [r[1] for r in rows_of(buffer.take(10_000).table)] == list(range(1_000))


def test_rewind_sends_what_is_retained_again():
    buffer = AppendBuffer(SCHEMA, capacity=10)
    buffer.add(changes([("a", 1)]))
    buffer.take(10)
    buffer.rewind()
    frame = buffer.take(10)
    assert frame.reset and rows_of(frame.table) == [("a", 1)]


def test_upsert_sends_the_latest_version_of_each_key():
    buffer = UpsertBuffer(SCHEMA, ("K",), capacity=10)
    buffer.add(changes([("a", 1), ("b", 2), ("a", 3)], [INSERT, INSERT, UPDATE]))
    assert sorted(rows_of(buffer.take(10).table)) == [("a", 3), ("b", 2)]
    assert buffer.conflated == 1


def test_upsert_tells_of_deletes():
    buffer = UpsertBuffer(SCHEMA, ("K",), capacity=10)
    buffer.add(changes([("a", 1), ("b", 2)]))
    buffer.take(10)
    buffer.add(changes([("a", None)], [DELETE]))
    frame = buffer.take(10)
    assert frame.deletes and rows_of(frame.table) == [("a", None, True)]
    assert rows_of(buffer.table()) == [("b", 2)]


def test_upsert_keeps_for_later_what_does_not_fit_into_a_frame():
    buffer = UpsertBuffer(SCHEMA, ("K",), capacity=10)
    buffer.add(changes([("a", 0)]))
    buffer.take(10)
    buffer.add(changes([(k, 1) for k in "abcd"]))
    assert [r[0] for r in rows_of(buffer.take(2).table)] == ["c", "d"]
    assert [r[0] for r in rows_of(buffer.take(2).table)] == ["a", "b"]
    assert buffer.take(2) is None


def test_upsert_forgets_the_keys_that_changed_least_recently():
    buffer = UpsertBuffer(SCHEMA, ("K",), capacity=2)
    buffer.add(changes([("a", 1), ("b", 1), ("c", 1), ("a", 2)]))
    assert rows_of(buffer.table()) == [("a", 2), ("c", 1)]


def test_keys_may_be_nested():
    schema = pa.schema([("K", pa.list_(pa.int64())), ("N", pa.int64())])
    buffer = make_buffer(schema, ("K",), 10)
    batch = pa.record_batch([[[1], [1], [2]], [1, 2, 3]], schema=schema)
    some = changes([("x", 0)] * 3)
    buffer.add(type(some)(batch, some.kinds))
    assert rows_of(buffer.table()) == [([1], 2), ([2], 3)]


@given(STEPS)
def test_a_browser_that_takes_all_frames_ends_with_what_is_retained_by_key(steps):
    buffer, browser, model = UpsertBuffer(SCHEMA, ("K",), 10), Browser(keyed=True), {}
    for what, argument, random in steps:
        if what == "add":
            kinds = [random.choice([INSERT, UPDATE, DELETE]) for _ in argument]
            buffer.add(changes(argument, kinds))
            for row, kind in zip(argument, kinds, strict=True):
                model.pop(row[0], None) if kind == DELETE else model.__setitem__(row[0], row)
        elif what == "take":
            frame = buffer.take(argument)
            if frame is not None and not (frame.reset and len(model) > argument):
                browser.apply(frame)
            elif frame is not None:
                buffer.rewind()
        else:
            buffer.rewind()
    while (frame := buffer.take(10)) is not None:
        browser.apply(frame)
    assert browser.by_key == model
    assert {row[0]: row for row in rows_of(buffer.table())} == model


@given(STEPS)
def test_appended_rows_are_sent_or_counted_as_conflated(steps):
    buffer, sent, rewound = AppendBuffer(SCHEMA, 6), 0, False
    for what, argument, _ in steps:
        if what == "add":
            buffer.add(changes(argument))
        elif what == "take" and (frame := buffer.take(argument)) is not None:
            sent += frame.table.num_rows
        elif what == "rewind":
            rewound = True
            buffer.rewind()
    while (frame := buffer.take(10)) is not None:
        sent += frame.table.num_rows
    if not rewound:
        assert sent + buffer.conflated == buffer.rows_in
    assert sent + buffer.conflated >= buffer.rows_in
