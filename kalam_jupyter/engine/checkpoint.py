"""Checkpoints: the whole state at one log position, in files.

``checkpoint.json`` (the manifest) names everything else, in ``data/``; it is replaced atomically, and
what it no longer names is deleted then. Files are never changed, so unchanged relations and the
segments of topics are named again instead of being written again.

Vocabulary
----------
capture
    What a checkpoint will hold, taken in the writer; immutable, so it can be written while the writer
    goes on.
segment
    Records of a topic in one file: one Arrow IPC stream after the other, one for each batch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa

from kalam_jupyter.engine.batch import Int64s, StoredBatch
from kalam_jupyter.engine.chunk import Live
from kalam_jupyter.engine.encoding import schema_from_json, schema_to_json
from kalam_jupyter.engine.errors import LogCorruptError
from kalam_jupyter.engine.processor import Runner
from kalam_jupyter.engine.relation import Relation
from kalam_jupyter.engine.stored import Descriptors, batch_from_arrow, batch_to_arrow, from_ipc, to_ipc
from kalam_jupyter.engine.topic import Topic
from kalam_jupyter.engine.types import Schema

if TYPE_CHECKING:
    from kalam_jupyter.engine.engine import Engine

_log = logging.getLogger(__name__)

MANIFEST: Final = "checkpoint.json"
FORMAT: Final = 2
#: A topic's last segment is written again with what follows it while it is smaller than this.
SMALL_SEGMENT: Final = 1 << 20


@dataclass(frozen=True)
class RelationCapture:
    """A relation's rows: live parts and next row id by owner."""

    relation: Relation
    schema: Schema
    owners: Mapping[str, tuple[Sequence[Live], int]]
    version: Any


@dataclass(frozen=True)
class TopicCapture:
    """A topic's settings, and its records: segments that are kept, and batches for new ones between them."""

    state: Mapping[str, Any]
    segments: Sequence[Mapping[str, Any] | Sequence[StoredBatch]]


@dataclass(frozen=True)
class RunnerCapture:
    """A processor: its new state, or None to keep the last one and the journal since."""

    runner: Runner
    state: bytes | None
    entry: Mapping[str, Any]
    journal_length: int


@dataclass(frozen=True)
class Capture:
    """The whole state at one position."""

    position: int
    catalogue: Mapping[str, Mapping[str, Any]]
    relations: Sequence[RelationCapture]
    topics: Sequence[TopicCapture]
    runners: Sequence[RunnerCapture]


@dataclass
class Written:
    """The last checkpoint that was written: what of it can be named again."""

    position: int = 0
    manifest: Mapping[str, Any] = field(default_factory=dict)
    relations: dict[str, tuple[Any, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        """Names of the files that the manifest names."""
        m = self.manifest
        names = {r["file"] for r in m.get("relations", ())} | {p["state"] for p in m.get("processors", ())}
        names |= {s["file"] for t in m.get("topics", ()) for s in t["segments"]}
        return {name for name in names if name}


# Capture: in the writer, under the lock


def capture(engine: Engine, last: Written) -> Capture:
    """Take the state of an engine, quickly: what is large is referred to, not copied."""
    segments = {t["name"]: t["segments"] for t in last.manifest.get("topics", ())}
    return Capture(
        engine.position,
        {kind: dict(engine.catalogue.items(kind)) for kind in engine.catalogue.kinds()},
        [_capture_relation(relation) for relation in engine.relation_map.values()],
        [_capture_topic(topic, segments.get(topic.name, ())) for topic in engine.topic_map.values()],
        [_capture_runner(runner) for runner in engine.scheduler.runners.values()],
    )


def _capture_relation(relation: Relation) -> RelationCapture:
    sets = relation.row_sets()
    version = (relation.uid, {owner: rows.version for owner, rows in sets.items()})
    owners = {owner: (rows.live(), rows.next_id) for owner, rows in sets.items()}
    return RelationCapture(relation, relation.schema, owners, version)


def _capture_topic(topic: Topic, segments: Sequence[Mapping[str, Any]]) -> TopicCapture:
    topic.merge_small(final=True)
    cleaned = topic.cleaned.end
    kept = [
        s
        for s in segments
        if s["topic"] == topic.uid
        and s["end"] > topic.start
        and (s["start"] >= cleaned or s.get("cleaned", 0) == cleaned)
    ]
    if kept and kept[-1]["end"] < topic.end and kept[-1]["size"] < SMALL_SEGMENT:
        kept.pop()
    first, last = (kept[0]["start"], kept[-1]["end"]) if kept else (topic.end, topic.end)
    before, after = topic.between(topic.start, first), topic.between(last, topic.end)
    parts: list[Mapping[str, Any] | Sequence[StoredBatch]] = [before, *kept, after]
    return TopicCapture(topic.state(), [part for part in parts if part])


def _capture_runner(runner: Runner) -> RunnerCapture:
    state = None
    if runner.processor is not None and runner.error is None:
        try:
            state = runner.processor.checkpoint()
        except Exception:  # a dialect's mistake: the last state and the steps since remain good
            _log.exception("checkpoint() of processor %s raised", runner.id)
    entry = {
        "id": runner.id,
        "positions": dict(runner.positions),
        "paused": runner.paused,
        "base": dict(runner.positions if state is not None else runner.base),
        "state": runner.state.name if runner.state is not None else None,
        "journal": [] if state is not None else runner.journal.tolist(),
        "journal_topics": list(runner.journal_topics),
    }
    return RunnerCapture(runner, state, entry, len(runner.journal) if state is not None else 0)


# Writing: in any thread


def write(directory: Path, taken: Capture, last: Written, descriptors: Descriptors) -> Written:
    """Write a checkpoint and make it the current one.

    Raises
    ------
    OSError
        If it cannot be written; the last one stays.
    """
    writer = _Writer(directory / "data", taken.position)
    relations: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    for relation in taken.relations:
        name = relation.relation.name
        before = last.relations.get(name)
        unchanged = before is not None and before[0] == relation.version
        entry = before[1] if before is not None and unchanged else _write_relation(writer, relation)
        relations[name] = (relation.version, entry)
    manifest = {
        "format": FORMAT,
        "position": taken.position,
        "catalogue": taken.catalogue,
        "relations": [entry for _, entry in relations.values()],
        "topics": [_write_topic(writer, topic, descriptors) for topic in taken.topics],
        "processors": [_write_runner(writer, runner) for runner in taken.runners],
    }
    writer.sync()
    _replace(directory / MANIFEST, orjson.dumps(manifest))
    return Written(taken.position, orjson.loads(orjson.dumps(manifest)), relations)


def delete_others(directory: Path, written: Written) -> None:
    """Delete the files in ``data/`` that a checkpoint does not name."""
    for name in set(os.listdir(directory / "data")) - written.files:
        try:
            (directory / "data" / name).unlink()
        except OSError as error:  # still mapped (Windows): the next checkpoint tries again
            _log.info("%s stays for now: %s", name, error)


class _Writer:
    """Writes files of names that no checkpoint has used."""

    def __init__(self, directory: Path, position: int) -> None:
        self._directory = directory
        self._position = position
        self._count = 0

    def write(self, suffix: str, fill: Callable[[Any], None]) -> str:
        """Write a file through `fill` and make it durable; return its name."""
        name = f"{self._position:016d}-{self._count}.{suffix}"
        self._count += 1
        descriptor = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        return name

    def sync(self) -> None:
        """Make the names durable."""
        _sync_directory(self._directory)


def _write_relation(writer: _Writer, taken: RelationCapture) -> Mapping[str, Any]:
    owners: list[Any] = []

    def fill(file: Any) -> None:
        arrow = pa.schema(
            [pa.field("id", pa.int64())]
            + [pa.field(f"c{i}", c.type.arrow) for i, c in enumerate(taken.schema.columns)]
        )
        with pa.ipc.new_file(file, arrow) as out:
            for owner, (parts, next_id) in taken.owners.items():
                for part in parts:
                    columns = [pa.array(part.ids()), *part.batch().columns]
                    out.write_batch(pa.RecordBatch.from_arrays(columns, schema=arrow))
                owners.append([owner, len(parts), next_id])

    file = writer.write("relation", fill)
    return {
        "name": taken.relation.name,
        "schema": schema_to_json(taken.schema),
        "owned": taken.relation.owned,
        "file": file,
        "owners": owners,
    }


def _write_topic(writer: _Writer, taken: TopicCapture, descriptors: Descriptors) -> Mapping[str, Any]:
    state = taken.state
    segments = [
        part if isinstance(part, Mapping) else _write_segment(writer, state, part, descriptors)
        for part in taken.segments
    ]
    return {**state, "segments": segments}


def _write_segment(
    writer: _Writer, state: Mapping[str, Any], items: Sequence[StoredBatch], descriptors: Descriptors
) -> Mapping[str, Any]:
    parts: list[Any] = []

    def fill(file: Any) -> None:
        for item in items:
            data = to_ipc(_segment_batch(item, descriptors))
            parts.append([file.tell(), data.size, item.position])
            file.write(data)
            file.write(bytes(-data.size % 64))

    return {
        "file": writer.write("segment", fill),
        "topic": state["uid"],
        "start": items[0].sequence,
        "end": items[-1].end,
        "cleaned": state["cleaned"]["end"],
        "size": sum(length for _, length, _ in parts),
        "parts": parts,
    }


def _segment_batch(item: StoredBatch, descriptors: Descriptors) -> pa.RecordBatch:
    batch = batch_to_arrow(item.batch, descriptors)
    if item.positions is not None:
        batch = batch.append_column("positions", pa.array(item.positions))
    if item.sequences is not None:
        batch = batch.append_column("sequences", pa.array(item.sequences))
        batch = batch.append_column("offsets", pa.array(item.offset_array()))
    return batch


def _write_runner(writer: _Writer, taken: RunnerCapture) -> Mapping[str, Any]:
    state = taken.state
    if state is None:
        return taken.entry
    name = writer.write("state", lambda file: file.write(state))
    return {**taken.entry, "state": name}


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Loading


def load(directory: Path, engine: Engine, descriptors: Descriptors) -> Written:
    """Fill an empty engine from the current checkpoint, if there is one.

    Raises
    ------
    LogCorruptError
        If it cannot be read.
    """
    try:
        manifest = orjson.loads((directory / MANIFEST).read_bytes())
    except FileNotFoundError:
        return Written()
    except orjson.JSONDecodeError as error:
        raise LogCorruptError(f"{directory / MANIFEST} cannot be read: {error}") from error
    if manifest["format"] > FORMAT:
        raise LogCorruptError(f"the checkpoint has format {manifest['format']}; this version reads {FORMAT}")
    data = directory / "data"
    try:
        for kind, values in manifest["catalogue"].items():
            for name, value in values.items():
                engine.catalogue.swap(kind, name, value)
        engine.catalogue.publish()
        relations = {entry["name"]: _load_relation(data, entry, engine) for entry in manifest["relations"]}
        for entry in manifest["topics"]:
            _load_topic(data, entry, engine, descriptors)
        for entry in manifest["processors"]:
            _load_runner(data, entry, engine)
    except (OSError, pa.ArrowInvalid) as error:
        raise LogCorruptError(f"the checkpoint in {directory} cannot be read: {error}") from error
    engine.position = manifest["position"]
    return Written(manifest["position"], manifest, relations)


def _load_relation(data: Path, entry: Mapping[str, Any], engine: Engine) -> tuple[Any, Mapping[str, Any]]:
    schema = schema_from_json(entry["schema"])
    relation = engine.new_relation(entry["name"], schema, entry["owned"])
    reader = pa.ipc.open_file(pa.memory_map(str(data / entry["file"])))
    i = 0
    for owner, count, next_id in entry["owners"]:
        batches: list[pa.RecordBatch] = []
        ids: list[Int64s] = []
        for found in (reader.get_batch(j) for j in range(i, i + count)):
            batches.append(pa.RecordBatch.from_arrays(found.columns[1:], schema=schema.arrow))
            ids.append(found.column(0).to_numpy())
        relation.row_set(owner).load(batches, ids, next_id)
        i += count
    version = (relation.uid, {owner: rows.version for owner, rows in relation.row_sets().items()})
    return version, entry


def _load_topic(data: Path, entry: Mapping[str, Any], engine: Engine, descriptors: Descriptors) -> None:
    topic = engine.topic_map[entry["name"]] = Topic(
        entry["name"], entry["partitions"], entry["config"], engine.lock, uid=entry["uid"]
    )
    topic.load(entry)
    for segment in entry["segments"]:
        mapped = pa.memory_map(str(data / segment["file"])).read_buffer()
        sequence = segment["start"]
        for offset, length, position in segment["parts"]:
            found = from_ipc(mapped.slice(offset, length))
            if "sequences" in found.schema.names:
                topic.load_compacted(_compacted_batch(found, descriptors))
                continue
            skip = min(max(0, topic.start - sequence), found.num_rows) if not topic.items else 0
            sequence += found.num_rows
            if skip < found.num_rows:
                _load_batch(topic, found.slice(skip), position, descriptors)
    topic.finish_load()
    if topic.end != entry["end"]:
        raise LogCorruptError(f"segments of topic '{topic.name}' end at {topic.end}, not {entry['end']}")


def _load_batch(topic: Topic, found: pa.RecordBatch, position: int, descriptors: Descriptors) -> None:
    positions = None
    if "positions" in found.schema.names:
        positions = found.column("positions").to_numpy()
        position = int(positions[0])
    topic.load_batch(batch_from_arrow(found, descriptors), position, positions)


def _compacted_batch(found: pa.RecordBatch, descriptors: Descriptors) -> StoredBatch:
    positions, sequences, offsets = (
        found.column(name).to_numpy() for name in ("positions", "sequences", "offsets")
    )
    batch = batch_from_arrow(found, descriptors)
    return StoredBatch(batch, int(positions[0]), int(sequences[0]), offsets, positions, sequences)


def _load_runner(data: Path, entry: Mapping[str, Any], engine: Engine) -> None:
    runner = engine.scheduler.add(entry["id"], dict(entry["positions"]))
    runner.paused = entry["paused"]
    runner.base = dict(entry["base"])
    runner.state = data / entry["state"] if entry["state"] else None
    runner.journal.extend(entry["journal"])
    runner.journal_topics = list(entry["journal_topics"])
