"""Operations on processors: the engine's methods of the same names end here, and the scheduler's steps."""

from __future__ import annotations

from kalam_jupyter.engine.processor import JOURNAL_IN_MEMORY, Processor, ProcessorStart, Runner, Step
from kalam_jupyter.engine.topic_operations import TopicOperations


class ProcessorOperations(TopicOperations, eq=False):
    """What a transaction can do with processors. Their steps append to topics."""

    def add_processor(self, processor: Processor, start: ProcessorStart) -> None:
        """Register a processor, or give a recovered id its processor back."""
        self._check_open()
        scheduler = self.engine.scheduler
        known = scheduler.runners.get(processor.id)
        if known is not None and known.processor is None:
            scheduler.attach(known, processor)
            if scheduler.started:
                scheduler.rebuild_or_fail(known)
            return
        positions = {}
        for name in processor.inputs:
            topic = self._topic(name)
            if isinstance(start, str):
                positions[name] = topic.start if start == "earliest" else topic.end
            else:
                positions[name] = start.get(name, topic.start)
        self.restore_processor(processor.id, positions)
        scheduler.attach(scheduler.runners[processor.id], processor)

    def restore_processor(self, processor_id: str, positions: dict[str, int]) -> None:
        """Register an id at positions, its processor to come."""
        scheduler = self.engine.scheduler
        scheduler.add(processor_id, positions)
        self._did(
            lambda: (scheduler.remove(processor_id), None)[1], "add_processor", processor_id, dict(positions)
        )

    def remove_processor(self, processor_id: str) -> None:
        """Forget a processor and where it was."""
        self._check_open()
        scheduler = self.engine.scheduler
        runner = scheduler.remove(processor_id)
        self._did(lambda: scheduler.put_back(runner), "remove_processor", processor_id)

    def pause_processor(self, processor_id: str, paused: bool) -> None:
        """Stop feeding a processor, or go on."""
        self._check_open()
        runner = self.engine.scheduler.runner(processor_id)
        before = runner.paused
        runner.paused = paused
        self.engine.scheduler.wake(runner)
        self._did(lambda: setattr(runner, "paused", before), "pause_processor", processor_id, paused)

    def resume_processor(self, processor_id: str) -> None:
        """Feed a paused or failed processor again; see `Engine.resume_processor`."""
        self._check_open()
        scheduler = self.engine.scheduler
        runner = scheduler.runner(processor_id)
        if runner.error is not None:
            scheduler.rebuild(runner)
        self.pause_processor(processor_id, False)

    def start_processors(self) -> None:
        """Start feeding processors; see `Engine.start`."""
        self._check_open()
        self.engine.scheduler.start()

    def take_step(self, step: Step) -> None:
        """Commit what a processor made of a batch."""
        for topic, batch in step.output:
            self.append(topic, batch)
        taken, context = step.batch, step.context
        self.advance(
            step.runner,
            step.topic,
            taken.sequence,
            taken.num_rows,
            taken.end,
            context.position,
            context.now_ms,
        )

    def restore_step(
        self, processor_id: str, topic: str, sequence: int, count: int, position: int, now_ms: int
    ) -> None:
        """Apply a committed step again, as far as the processor's position goes."""
        runner = self.engine.scheduler.runner(processor_id)
        found = self.engine.find_topic(topic)
        end = sequence + count if found is None else found.step_end(sequence, count)
        self.advance(runner, topic, sequence, count, end, position, now_ms)

    def advance(
        self, runner: Runner, topic: str, sequence: int, count: int, end: int, position: int, now_ms: int
    ) -> None:
        """Move a processor past a batch."""
        before = runner.positions.get(topic)
        runner.positions[topic] = end
        if len(runner.journal) > 5 * JOURNAL_IN_MEMORY and not self.engine.durable:
            runner.give_up_journal()
        runner.note(topic, sequence, count, position, now_ms)

        def undo() -> None:
            runner.unnote()
            if before is not None:
                runner.positions[topic] = before

        self._did(undo, "step", runner.id, topic, sequence, count, position, now_ms)
