"""Processors: what persistent queries are made of, and who feeds them.

Vocabulary
----------
processor
    A function with state from topics to topics: batches in, batches out.
step
    One batch fed to one processor. What it emits and the new input position are one log entry.
wave
    One step of every processor that has input, committed together: a chain of n queries costs n
    commits, however many queries there are side by side.
journal
    The steps of a processor since its last checkpoint; feeding them again rebuilds its state.
"""

from __future__ import annotations

import hashlib
import logging
import random
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from kalam_jupyter.engine.batch import Batch, StoredBatch
from kalam_jupyter.engine.errors import AlreadyExistsError, EngineError, LogWriteError, NotFoundError

if TYPE_CHECKING:
    from kalam_jupyter.engine.engine import Engine
    from kalam_jupyter.engine.topic import Topic

_log = logging.getLogger(__name__)

ProcessorStart = Literal["earliest", "latest"] | Mapping[str, int]
#: Seconds between attempts to write steps that the log could not take.
RETRY_SECONDS: Final = 0.2
#: Steps that an engine in memory keeps to rebuild a failed processor (40 bytes each).
JOURNAL_IN_MEMORY: Final = 200_000


@dataclass(frozen=True)
class StepContext:
    """What a step may depend on besides its input and state; the same when the step is replayed.

    Attributes
    ----------
    now_ms : int
        Processing time.
    seed : int
        Random functions draw from ``random.Random(seed)``.
    position : int
        Number of the step's entry; grows from step to step.
    replaying : bool
        Whether state is being rebuilt: what the step emits is dropped.
    """

    now_ms: int
    seed: int
    position: int
    replaying: bool = False


class Processor(Protocol):
    """Consumes topics, keeps state, emits batches."""

    id: str
    inputs: tuple[str, ...]

    def process(self, topic: str, batch: StoredBatch, context: StepContext) -> Iterable[tuple[str, Batch]]:
        """Take one batch of one input; return (topic, batch) of what it emits."""

    def checkpoint(self) -> bytes:
        """Return the whole state."""

    def restore(self, state: bytes) -> None:
        """Take back a state that `checkpoint` returned."""

    def reset(self) -> None:
        """Go back to the state before the first batch."""

    def failed(self, error: BaseException) -> None:
        """Hear that a step raised, and that the engine has paused this processor."""


@dataclass
class Runner:
    """A processor and where it is.

    Attributes
    ----------
    processor : Processor or None
        None between `Engine.open` and the dialect's `add_processor`.
    positions : dict of topic to sequence
        Next record of each input.
    state, base, journal
        File of the last checkpointed state, its positions, and five int64 for each step since: input,
        sequence, count, position, now_ms.
    complete : bool
        Whether state and journal are enough to rebuild the processor.
    apart : dict of topic to sequence
        Where appends are fed one by one up to: a step of several raised, because of one of them.
    """

    id: str
    positions: dict[str, int]
    processor: Processor | None = None
    paused: bool = False
    error: BaseException | None = None
    state: Path | None = None
    base: dict[str, int] = field(default_factory=dict)
    journal: array[int] = field(default_factory=lambda: array("q"))
    journal_topics: list[str] = field(default_factory=list)
    complete: bool = True
    apart: dict[str, int] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether it is fed."""
        return self.processor is not None and not self.paused and self.error is None

    def note(self, topic: str, sequence: int, count: int, position: int, now_ms: int) -> None:
        """Add a step to the journal."""
        if topic not in self.journal_topics:
            self.journal_topics.append(topic)
        self.journal.extend((self.journal_topics.index(topic), sequence, count, position, now_ms))

    def unnote(self) -> None:
        """Take back the last step of the journal."""
        del self.journal[-5:]

    def rename(self, topic: str, name: str) -> None:
        """Call a topic of the journal otherwise."""
        self.journal_topics = [name if t == topic else t for t in self.journal_topics]

    def give_up_journal(self) -> None:
        """Forget the steps: without checkpoints the journal would grow for ever."""
        self.journal = array("q")
        self.complete = False

    def steps(self) -> Iterator[tuple[str, int, int, int, int]]:
        """Iterate over (topic, sequence, count, position, now_ms) of the journal."""
        j = self.journal
        for i in range(0, len(j), 5):
            yield self.journal_topics[j[i]], j[i + 1], j[i + 2], j[i + 3], j[i + 4]

    def forget(self, length: int, base: dict[str, int], state: Path | None) -> None:
        """Take a checkpoint's state in place of the first `length` numbers of the journal."""
        del self.journal[:length]
        self.base, self.state = base, state


@dataclass(frozen=True)
class Step:
    """A step that was computed and is not yet committed."""

    runner: Runner
    topic: str
    batch: StoredBatch
    context: StepContext
    output: list[tuple[str, Batch]]


class Scheduler:
    """Decides which processor gets which batch next. All of it runs in the writer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.runners: dict[str, Runner] = {}
        self._readers: dict[str, list[Runner]] = {}
        self._ready: dict[str, Runner] = {}
        self._unwritten: list[Step] = []
        self.started = False
        self.secret = random.SystemRandom().getrandbits(63)

    # Registration (inside a transaction, under the lock)

    def runner(self, processor_id: str) -> Runner:
        """Return the runner of an id; NotFoundError if there is none."""
        runner = self.runners.get(processor_id)
        if runner is None:
            raise NotFoundError("processor", processor_id)
        return runner

    def add(self, processor_id: str, positions: dict[str, int]) -> Runner:
        """Register a new id."""
        if processor_id in self.runners:
            raise AlreadyExistsError("processor", processor_id)
        runner = self.runners[processor_id] = Runner(processor_id, positions, base=dict(positions))
        return runner

    def put_back(self, runner: Runner) -> None:
        """Undo `remove`."""
        self.runners[runner.id] = runner
        self._index()

    def remove(self, processor_id: str) -> Runner:
        """Forget an id."""
        runner = self.runner(processor_id)
        del self.runners[processor_id]
        self._ready.pop(processor_id, None)
        self._index()
        return runner

    def attach(self, runner: Runner, processor: Processor) -> None:
        """Give a runner its processor."""
        runner.processor = processor
        for topic in processor.inputs:
            runner.positions.setdefault(topic, 0)
        self._index()
        self._ready[runner.id] = runner

    def _index(self) -> None:
        self._readers = {}
        for runner in self.runners.values():
            for topic in runner.processor.inputs if runner.processor is not None else ():
                self._readers.setdefault(topic, []).append(runner)

    def wake(self, runner: Runner) -> None:
        """Look at a runner in the next wave."""
        self._ready[runner.id] = runner

    def arrived(self, topic: str) -> None:
        """Note that a topic has new records."""
        for runner in self._readers.get(topic, ()):
            self._ready[runner.id] = runner

    def topic_dropped(self, topic: str) -> list[tuple[Runner, int]]:
        """Forget positions in a topic; return what they were.

        Its steps stay in the journals under a name that no topic has, lest a namesake be replayed.
        """
        forgotten = [(r, r.positions.pop(topic)) for r in self.runners.values() if topic in r.positions]
        for runner, _ in forgotten:
            runner.rename(topic, f"{topic} (dropped)")
        return forgotten

    def topic_undropped(self, topic: str, forgotten: list[tuple[Runner, int]]) -> None:
        """Undo `topic_dropped`."""
        for runner, sequence in forgotten:
            runner.positions[topic] = sequence
            runner.rename(f"{topic} (dropped)", topic)

    def needed_from(self, topic: str) -> int | None:
        """Return the first sequence of a topic that a processor needs, or its recovery; None if none.

        As in Kafka, what has yet to be read by one that somebody paused is not kept for it.
        """
        durable = self._engine.durable
        needed = [
            r.base.get(topic, 0) if durable else r.positions[topic]
            for r in self.runners.values()
            if topic in r.positions and not (r.paused and not (durable and r.journal))
        ]
        return min(needed, default=None)

    def positions_in(self, topic: str) -> list[int]:
        """Return where processors are in a topic, those that do not run included."""
        return [r.positions[topic] for r in self.runners.values() if topic in r.positions]

    # Running

    @property
    def pending(self) -> bool:
        """Whether there may be something to do."""
        return self.started and bool(self._ready or self._unwritten)

    @property
    def retrying(self) -> bool:
        """Whether steps wait for the log to be writable again."""
        return bool(self._unwritten)

    def caught_up(self, ids: Iterable[str] | None) -> bool:
        """Whether the running processors (of `ids`) have consumed their topics."""
        chosen = self.runners if ids is None else ids
        unwritten = {step.runner.id for step in self._unwritten}
        for processor_id in chosen:
            runner = self.runners.get(processor_id)
            if runner is None or not runner.running:
                continue
            if processor_id in unwritten or self._waiting(runner):
                return False
        return True

    def behind(self) -> int:
        """Return how many records the running processors have still to consume."""
        behind = 0
        for runner in self.runners.values():
            for name in runner.processor.inputs if runner.running and runner.processor is not None else ():
                if (topic := self._engine.find_topic(name)) is not None:
                    behind += topic.end - max(topic.start, min(topic.end, runner.positions.get(name, 0)))
        return behind

    def input_ends(self, processor_id: str) -> dict[str, int]:
        """Return the sequence that the next record of each of its inputs will get."""
        runner = self.runners.get(processor_id)
        if runner is None or runner.processor is None:
            return {}
        topics = ((name, self._engine.find_topic(name)) for name in runner.processor.inputs)
        return {name: topic.end for name, topic in topics if topic is not None}

    def reached(self, processor_id: str, ends: Mapping[str, int]) -> bool:
        """Whether a processor has consumed its inputs up to `ends`, or is not running."""
        runner = self.runners.get(processor_id)
        if runner is None or not runner.running:
            return True
        if any(step.runner is runner for step in self._unwritten):
            return False
        return all(runner.positions.get(name, 0) >= end for name, end in ends.items())

    def _waiting(self, runner: Runner) -> list[tuple[int, int, Topic]]:
        """Return the inputs that have more: log position of the next record, number of the input, topic."""
        assert runner.processor is not None
        found: list[tuple[int, int, Topic]] = []
        for i, name in enumerate(runner.processor.inputs):
            topic = self._engine.find_topic(name)
            if topic is None:
                continue
            sequence = runner.positions.setdefault(name, 0)
            if sequence < topic.start:  # a record that retention took is not waited for
                sequence = runner.positions[name] = topic.start
            if sequence < topic.end:
                item = topic.items[topic.find(sequence)]
                position = item.position
                if item.positions is not None:
                    position = int(item.positions[item.index(sequence)])
                found.append((position, i, topic))
        return found

    def _next(self, runner: Runner) -> tuple[str, StoredBatch] | None:
        """Return the input that is the earliest in the log, None when caught up.

        What the other inputs have in between ends the batch: records of different topics arrive in
        the order in which they were written.
        """
        found = self._waiting(runner)
        if not found:
            return None
        found.sort()
        topic = found[0][2]
        batch = topic.read_step(runner.positions[topic.name], found[1][0] if len(found) > 1 else None)
        if batch.positions is not None and len(found) > 1:
            side: Literal["right", "left"] = "right" if found[0][1] < found[1][1] else "left"
            batch = batch.slice(0, int(np.searchsorted(batch.positions, found[1][0], side)))
        if batch.sequence >= runner.apart.get(topic.name, 0):
            runner.apart.pop(topic.name, None)
        elif batch.positions is not None:
            batch = batch.slice(0, int(np.searchsorted(batch.positions, batch.position, "right")))
        return topic.name, batch

    def wave(self) -> None:
        """Compute a step of every processor that has input, then commit them as one group."""
        self._unwritten = [s for s in self._unwritten if self.runners.get(s.runner.id) is s.runner]
        if not self._unwritten:
            for runner in list(self._ready.values()):
                step = self._compute(runner)
                if step is not None:
                    self._unwritten.append(step)
        if self._unwritten:
            self._commit()

    def _compute(self, runner: Runner) -> Step | None:
        with self._engine.lock:
            found = self._next(runner) if runner.running else None
            if found is None:
                self._ready.pop(runner.id, None)
                return None
            topic, batch = found
            position = self._engine.position + 1 + len(self._unwritten)
        context = StepContext(self._engine.clock.now_ms(), self.seed(position), position)
        assert runner.processor is not None
        try:
            output = [o for o in runner.processor.process(topic, batch, context) if o[1].num_rows]
        except BaseException as error:  # whatever a query raises stops that query only
            if not self._take_apart(runner, topic, batch):
                self._fail(runner, error)
            return None
        return Step(runner, topic, batch, context, output)

    def _commit(self) -> None:
        steps = self._unwritten
        try:
            rejected = self._engine.writer.commit_steps(steps)
        except LogWriteError as error:
            _log.warning("steps of %d processors wait for the log: %s", len(steps), error)
            return
        self._unwritten = []
        for step, error_ in rejected:
            if not self._take_apart(step.runner, step.topic, step.batch):
                self._fail(step.runner, error_)

    def _take_apart(self, runner: Runner, topic: str, batch: StoredBatch) -> bool:
        """Go back to before a failed step of several appends, to feed them one by one; False if it was one.

        That they were one step must not be seen: what was appended before the bad record counts.
        """
        if batch.positions is None or batch.positions[-1] == batch.position:
            return False
        try:
            self.rebuild(runner)
        except BaseException:  # then it is the error of the step that counts
            _log.exception("processor %s could not be rebuilt to take a failed step apart", runner.id)
            return False
        runner.apart[topic] = batch.end
        return True

    def _fail(self, runner: Runner, error: BaseException) -> None:
        _log.warning("processor %s failed and is paused: %r", runner.id, error)
        assert runner.processor is not None
        try:
            runner.processor.failed(error)
        except Exception:  # the writer outlives a dialect's mistake
            _log.exception("failed() of processor %s raised", runner.id)
        with self._engine.lock:  # only now: whoever waits in settle() finds that it was told
            runner.error = error
            self._ready.pop(runner.id, None)

    def seed(self, position: int) -> int:
        """Return the seed of a step: the same on replay, and not to be guessed from outside."""
        digest = hashlib.blake2b(position.to_bytes(8), key=self.secret.to_bytes(8), digest_size=8).digest()
        return int.from_bytes(digest) >> 1

    def start(self) -> None:
        """Bring recovered processors to where they were, and feed all from now on."""
        if self.started:
            return
        self.started = True
        for runner in self.runners.values():
            if runner.processor is not None:
                self.rebuild_or_fail(runner)

    def rebuild_or_fail(self, runner: Runner) -> None:
        """Rebuild a recovered processor; one that cannot be is paused, and told so."""
        if runner.state is None and not runner.journal:
            return
        try:
            self.rebuild(runner)
        except BaseException as error:  # as in a step: it stops that query only
            self._fail(runner, error)

    def rebuild(self, runner: Runner) -> None:
        """Bring a processor to where its positions are: last checkpoint, then the journal.

        Raises
        ------
        EngineError
            If a batch that is needed is no longer retained.
        """
        processor = runner.processor
        assert processor is not None
        if not runner.complete:
            raise EngineError(f"processor '{runner.id}': in memory, so many steps are not kept")
        processor.reset()
        if runner.state is not None:
            processor.restore(runner.state.read_bytes())
        for name, sequence, count, position, now_ms in runner.steps():
            topic = self._engine.find_topic(name)
            if topic is None or not topic.has_step(sequence, position):
                raise EngineError(f"processor '{runner.id}': its input in '{name}' is no longer retained")
            context = StepContext(now_ms, self.seed(position), position, replaying=True)
            for _ in processor.process(name, topic.read_one(sequence, count), context):
                pass
        runner.error = None
