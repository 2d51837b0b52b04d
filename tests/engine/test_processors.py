"""Processors: fed in log order, committed with their input position, isolated when they fail."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from kalam_jupyter.engine import Clock, Engine, StepContext
from kalam_jupyter.engine.batch import Batch, StoredBatch
from kalam_jupyter.engine.errors import AlreadyExistsError, EngineError, NotFoundError
from tests.engine.support import WordCount, open_engine, topic_values, words


@pytest.fixture
def engine() -> Any:
    with open_engine(clock=Clock(7)) as engine:

        def setup(tx: Any) -> None:
            for name in ("words", "more", "counts", "seen"):
                tx.create_topic(name)

        engine.transact(setup)
        yield engine


class Recorder:
    """Remembers what it got, and sends each value on with the topic's name."""

    def __init__(self, id: str, *inputs: str, sink: str = "seen") -> None:
        self.id, self.inputs, self.sink = id, inputs, sink
        self.seen: list[tuple[str, str]] = []

    def process(self, topic: str, batch: StoredBatch, context: StepContext) -> Iterable[tuple[str, Batch]]:
        got = [(v or b"").decode() for v in batch.batch.encoded()[1]]
        self.seen += [(topic, value) for value in got]
        return [(self.sink, words(*(f"{topic}:{value}" for value in got)))]

    def checkpoint(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        raise AssertionError("nothing was checkpointed")

    def reset(self) -> None:
        self.seen = []

    def failed(self, error: BaseException) -> None:
        raise AssertionError(error)


def values(engine: Engine, topic: str) -> list[str]:
    return [(r.value or b"").decode() for r in engine.topic(topic).read_partition(0, 0, 1 << 20)]


def test_inputs_arrive_in_the_order_in_which_they_were_written(engine: Engine) -> None:
    recorder = Recorder("r", "words", "more")
    for i in range(6):
        engine.transact(lambda tx, i=i: tx.append(("words", "more")[i % 2], words(str(i))))
    engine.add_processor(recorder, "earliest")
    engine.start()
    assert engine.settle()
    assert [value for _, value in recorder.seen] == list("012345")


def test_small_appends_that_wait_are_one_step(engine: Engine) -> None:
    processor = WordCount()
    engine.add_processor(processor)
    engine.pause_processor("word-count")
    engine.start()
    for word in "abcab":
        engine.transact(lambda tx, w=word: tx.append("words", words(w)))
    engine.resume_processor("word-count")
    assert engine.settle()
    assert len(processor.contexts) == 1
    assert processor.counts == {"a": 2, "b": 2, "c": 1}


def test_steps_of_waiting_appends_keep_the_order_across_topics(engine: Engine) -> None:
    recorder = Recorder("r", "more", "words")
    engine.add_processor(recorder, "earliest")
    engine.pause_processor("r")
    engine.start()
    for i in range(60):
        name = "words" if i // 7 % 3 else "more"
        engine.transact(lambda tx, i=i, n=name: tx.append(n, words(str(i))))
    engine.resume_processor("r")
    assert engine.settle()
    assert [value for _, value in recorder.seen] == [str(i) for i in range(60)]


def test_order_across_topics_outlives_merging(engine: Engine) -> None:
    for i in range(60):
        name = "words" if i % 3 else "more"
        engine.transact(lambda tx, i=i, n=name: tx.append(n, words(str(i))))
        if i in (20, 41, 59):
            for topic in ("words", "more"):
                engine.topic(topic).merge_small(final=True)
    recorder = Recorder("r", "more", "words")
    engine.add_processor(recorder, "earliest")
    engine.start()
    assert engine.settle()
    assert [value for _, value in recorder.seen] == [str(i) for i in range(60)]
    assert values(engine, "seen") == [f"{topic}:{value}" for topic, value in recorder.seen]


def test_topics_of_one_transaction_arrive_in_the_order_of_the_inputs(engine: Engine) -> None:
    for _ in range(3):
        engine.transact(lambda tx: (tx.append("words", words("w")), tx.append("more", words("m"))))
    for topic in ("words", "more"):
        engine.topic(topic).merge_small(final=True)
    recorder = Recorder("r", "more", "words")
    engine.add_processor(recorder, "earliest")
    engine.start()
    assert engine.settle()
    assert [value for _, value in recorder.seen] == ["m", "w"] * 3


@pytest.mark.parametrize(("start", "expected"), [("earliest", "abc"), ("latest", "c"), ({"words": 1}, "bc")])
def test_processors_start_where_asked(engine: Engine, start: Any, expected: str) -> None:
    engine.transact(lambda tx: tx.append("words", words("a", "b")))
    recorder = Recorder("r", "words")
    engine.add_processor(recorder, start)
    engine.start()
    engine.transact(lambda tx: tx.append("words", words("c")))
    assert engine.settle()
    assert "".join(value for _, value in recorder.seen) == expected


def test_settling_waits_for_whole_chains(engine: Engine) -> None:
    engine.start()
    engine.add_processor(Recorder("first", "words", sink="more"))
    engine.add_processor(Recorder("second", "more"))
    for i in range(20):
        engine.transact(lambda tx, i=i: tx.append("words", words(str(i))))
        assert engine.settle(ids=["first", "second"])
        assert values(engine, "seen")[-1] == f"more:words:{i}"
    assert engine.processor_positions("second") == {"more": 20}


def test_settle_says_when_it_took_too_long(engine: Engine) -> None:
    release = threading.Event()

    class Slow(Recorder):
        def process(self, topic: str, batch: StoredBatch, context: StepContext) -> list[Any]:
            release.wait(10)
            return []

    engine.add_processor(Slow("slow", "words"))
    engine.start()
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert not engine.settle(timeout=0.01)
    assert engine.settle(timeout=0.01, ids=[])
    assert engine.topic("words").end_sequence == 1  # reads do not wait for a step
    release.set()
    assert engine.settle()


def test_settling_before_the_start_is_a_mistake(engine: Engine) -> None:
    engine.add_processor(Recorder("r", "words"), "earliest")
    assert engine.settle()
    engine.transact(lambda tx: tx.append("words", words("a")))
    with pytest.raises(EngineError, match=r"before Engine\.start\(\)"):
        engine.settle()


def test_a_step_that_raises_stops_its_processor_only(engine: Engine) -> None:
    bad, good = WordCount("bad"), WordCount("good", sink="seen")
    engine.add_processor(bad)
    engine.add_processor(good)
    engine.start()
    good_errors = good.errors
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert engine.settle()
    bad_inputs = words("b", "boom")
    good.process = lambda topic, batch, context: []  # type: ignore[method-assign]
    engine.transact(lambda tx: tx.append("words", bad_inputs))
    engine.transact(lambda tx: tx.append("words", words("c")))
    assert engine.settle()
    assert [str(e) for e in bad.errors] == ["boom"] and good_errors == []
    assert [k for k, _ in topic_values(engine, "counts")] == [("a",)]
    assert engine.processor_positions("bad") == {"words": 1}
    assert engine.processor_positions("good") == {"words": 4}


def test_resuming_a_failed_processor_rebuilds_its_state(engine: Engine) -> None:
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert engine.settle()
    first = processor.contexts[0]
    engine.transact(lambda tx: tx.append("words", words("a", "boom")))
    assert engine.settle() and processor.counts == {"a": 2}
    engine.transact(lambda tx: tx.truncate_topic("words"))
    with pytest.raises(EngineError, match="its input in 'words' is no longer retained"):
        engine.resume_processor("word-count")
    assert processor.contexts[0] == first and len(processor.errors) == 1


def test_a_resumed_processor_goes_on_from_its_last_good_step(engine: Engine) -> None:
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    engine.transact(lambda tx: tx.append("words", words("a", "b")))
    assert engine.settle()
    engine.transact(lambda tx: tx.append("words", words("a", "boom")))
    assert engine.settle()
    process = processor.process
    processor.process = lambda topic, batch, context: (  # type: ignore[method-assign]
        process(topic, batch, context) if b"boom" not in batch.batch.encoded()[1] else []
    )
    engine.resume_processor("word-count")
    assert engine.settle()
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert engine.settle()
    assert processor.counts == {"a": 2, "b": 1}
    assert [n for _, (n,) in topic_values(engine, "counts")] == [1, 1, 2]
    assert [c.replaying for c in processor.contexts] == [False, False, True, False]


@pytest.mark.parametrize("merged", [False, True], ids=["as they were appended", "merged in the topic"])
def test_appends_before_a_bad_record_count_though_they_waited_in_one_step(
    engine: Engine, merged: bool
) -> None:
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    engine.pause_processor("word-count")
    for word in ("a", "b", "a", "boom", "a"):
        engine.transact(lambda tx, word=word: tx.append("words", words(word)))  # type: ignore[misc]
    if merged:
        engine.topic("words").merge_small(final=True)
    engine.resume_processor("word-count")
    assert engine.settle()
    assert [str(e) for e in processor.errors] == ["boom"]
    assert [(k, n) for k, (n,) in topic_values(engine, "counts")] == [(("a",), 1), (("b",), 1), (("a",), 2)]
    assert engine.processor_positions("word-count") == {"words": 3}


def test_output_to_a_topic_that_is_gone_fails_the_processor(engine: Engine) -> None:
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    engine.transact(lambda tx: tx.drop_topic("counts"))
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert engine.settle()
    assert [type(e) for e in processor.errors] == [NotFoundError]
    assert engine.processor_positions("word-count") == {"words": 0}


def test_a_paused_processor_catches_up_when_it_is_resumed(engine: Engine) -> None:
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    engine.pause_processor("word-count")
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert engine.settle() and processor.counts == {}
    engine.resume_processor("word-count")
    assert engine.settle() and processor.counts == {"a": 1}


def test_ids_are_unique_and_can_be_used_again(engine: Engine) -> None:
    engine.start()
    engine.add_processor(WordCount())
    with pytest.raises(AlreadyExistsError, match="processor 'word-count' already exists"):
        engine.add_processor(WordCount())
    engine.remove_processor("word-count")
    with pytest.raises(NotFoundError):
        engine.processor_positions("word-count")
    processor = WordCount()
    engine.add_processor(processor, "earliest")
    engine.transact(lambda tx: tx.append("words", words("a")))
    assert engine.settle() and processor.counts == {"a": 1}


def test_contexts_carry_the_clock_and_a_seed_for_each_step(engine: Engine) -> None:
    processor = WordCount()
    engine.add_processor(processor)
    engine.start()
    for word in ("a", "b"):
        engine.transact(lambda tx, w=word: tx.append("words", words(w)))
        assert engine.settle()
        engine.clock.advance(5)
    first, second = processor.contexts
    assert (first.now_ms, second.now_ms) == (7, 12)
    assert first.position < second.position and first.seed != second.seed


def test_a_topic_that_is_created_again_is_read_from_its_start(engine: Engine) -> None:
    recorder = Recorder("r", "words")
    engine.add_processor(recorder)
    engine.start()
    engine.transact(lambda tx: tx.append("words", words("a", "b")))
    assert engine.settle()
    engine.transact(lambda tx: tx.drop_topic("words"))
    assert engine.settle()
    engine.transact(lambda tx: (tx.create_topic("words"), tx.append("words", words("c"))))
    assert engine.settle()
    assert [value for _, value in recorder.seen] == ["a", "b", "c"]


def test_catch_up_ends_although_records_go_on_arriving() -> None:
    with Engine.open() as engine:
        engine.transact(lambda tx: (tx.create_topic("in"), tx.create_topic("out")))
        engine.add_processor(_Endless("endless", engine), start="earliest")
        engine.start()
        engine.transact(lambda tx: tx.append("in", _one()))
        assert engine.catch_up(["endless"], 10)
        assert engine.topic("in").end_sequence > 1
        engine.pause_processor("endless")
        assert engine.catch_up(["endless", "nobody"], 10)


class _Endless:
    """Answers every record of its input with another one."""

    inputs = ("in",)

    def __init__(self, processor_id: str, engine: Engine) -> None:
        self.id = processor_id

    def process(self, topic: str, batch: object, context: object) -> list[tuple[str, Batch]]:
        return [("in", _one())]

    def checkpoint(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None: ...

    def reset(self) -> None: ...

    def failed(self, error: BaseException) -> None:
        raise error


def _one() -> Batch:
    return Batch([0], raw=([None], [b"x"]))
