"""Jobs: work that runs after its statement has answered, visible in `system.jobs`."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from kalam_jupyter.engine import Engine
from kalam_jupyter.engine.errors import EngineClosedError, LogWriteError
from kalam_jupyter.engine.transaction import Transaction
from kalam_jupyter.kalam.catalog import JOB
from kalam_jupyter.kalam.errors import StatementError

_log = logging.getLogger(__name__)
FINISHED = ("completed", "failed", "cancelled", "skipped")
#: Jobs kept after they ended.
KEPT = 1000
#: Seconds until a record is tried again that the log could not take.
RETRY_S = 1.0


class JobCancelledError(Exception):
    """Somebody killed the job."""


class JobSkippedError(Exception):
    """What the job was for is there no more."""


class Job:
    """A running job, as its work sees it."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs, self.id = jobs, job_id
        self.cancelled = threading.Event()

    def check(self) -> None:
        """Raise `JobCancelledError` if the job was killed."""
        if self.cancelled.is_set():
            raise JobCancelledError

    def progress(self, message: str) -> None:
        """Say how far the job is."""
        self.check()
        self._jobs.update(self.id, message=message)


class Jobs:
    """Runs jobs, one after another, and keeps their records."""

    def __init__(self, engine: Engine, node_id: int) -> None:
        self._engine, self._node = engine, node_id
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="kalam-job")
        self._running: dict[str, Job] = {}
        self._closing = threading.Event()
        self._last_id = max((int(i[3:], 16) for i in engine.catalogue.names(JOB)), default=0)
        for job_id, record in engine.catalogue.items(JOB):
            if record["status"] not in FINISHED and record.get("resume") is None:
                self.update(job_id, status="failed", message="interrupted by a restart", finished=True)

    def resume(self, kind: str, work: Callable[[Any, Job], str]) -> None:
        """Queue the jobs of a kind again that a restart interrupted: to be called before any other is queued.

        `work` gets what `start` was given as `resume`, and the job.
        """
        for job_id, record in sorted(self._engine.catalogue.items(JOB)):
            if record["job_type"] == kind and record["status"] not in FINISHED:
                self._queue(Job(self, job_id), functools.partial(work, record["resume"]))

    def _record(
        self,
        tx: Transaction,
        job_id: str,
        kind: str,
        parameters: Any,
        key: str | None = None,
        resume: Any = None,
    ) -> dict[str, Any]:
        return {
            "job_id": job_id,
            "job_type": kind,
            "status": "queued",
            "leader_status": None,
            "parameters": orjson.dumps(parameters).decode(),
            "message": None,
            "exception_trace": None,
            "idempotency_key": key,
            "queue": None,
            "priority": None,
            "retry_count": 0,
            "max_retries": 3,
            "memory_used": None,
            "cpu_used": None,
            "created_at": tx.now_ms,
            "updated_at": tx.now_ms,
            "started_at": None,
            "finished_at": None,
            "node_id": str(self._node),
            "leader_node_id": str(self._node),
            "resume": resume,
        }

    def _new_id(self, tx: Transaction, prefix: str) -> str:
        """Twelve hex digits that sort by age."""
        self._last_id = max(self._last_id + 1, tx.now_ms << 7)
        return f"{prefix}-{self._last_id:012x}"

    def finished(self, tx: Transaction, prefix: str, kind: str, parameters: Any, message: str) -> str:
        """Record a job whose work is done within this transaction; return its id."""
        job_id = self._new_id(tx, prefix)
        done = {"status": "completed", "message": message, "started_at": tx.now_ms, "finished_at": tx.now_ms}
        tx.put(JOB, job_id, {**self._record(tx, job_id, kind, parameters), **done})
        self._forget_old(tx)
        return job_id

    def start(
        self,
        tx: Transaction,
        prefix: str,
        kind: str,
        parameters: Any,
        work: Callable[[Job], str],
        key: str | None = None,
        resume: Any = None,
    ) -> str:
        """Queue a job in a transaction; it runs once that is durable. `work` returns its final message.

        With `resume` (JSON values) it is not a failure if the process ends first: see `Jobs.resume`.
        """
        job_id = self._new_id(tx, prefix)
        tx.put(JOB, job_id, self._record(tx, job_id, kind, parameters, key, resume))
        self._forget_old(tx)
        job = Job(self, job_id)
        tx.on_commit(lambda: self._queue(job, work))
        return job_id

    def _queue(self, job: Job, work: Callable[[Job], str]) -> None:
        self._running[job.id] = job
        self._pool.submit(self._run, job, work)

    def active(self, key: str) -> str | None:
        """Return the id of a queued or running job with this idempotency key."""
        for job_id, record in self._engine.catalogue.items(JOB):
            if record["idempotency_key"] == key and record["status"] not in FINISHED:
                return job_id
        return None

    def _run(self, job: Job, work: Callable[[Job], str]) -> None:
        try:
            job.check()
            self.update(job.id, status="running", started=True)
            self._end(job, "completed", work(job))
        except JobCancelledError:
            if not (self._closing.is_set() and self._resumes(job)):
                self._end(job, "cancelled", "cancelled")
        except JobSkippedError as error:
            self._end(job, "skipped", str(error))
        except EngineClosedError:
            _log.info("job %s ended with the engine", job.id)
        except Exception as error:  # a job's failure, of whatever kind, belongs into its record
            _log.exception("job %s failed", job.id)
            self._end(job, "failed", str(error), repr(error))
        finally:
            self._running.pop(job.id, None)

    def _resumes(self, job: Job) -> bool:
        record = self._engine.catalogue.get(JOB, job.id)
        return record is not None and record.get("resume") is not None

    def _end(self, job: Job, status: str, message: str, trace: str | None = None) -> None:
        """Record how a job ended; while the log cannot be written, no other job begins."""
        while True:
            try:
                return self.update(job.id, status=status, message=message, trace=trace, finished=True)
            except LogWriteError:
                if self._closing.wait(RETRY_S):
                    return None  # the next start finds that it did not end
            except EngineClosedError:
                return _log.info("job %s ended with the engine", job.id)

    def update(
        self,
        job_id: str,
        *,
        status: str | None = None,
        message: str | None = None,
        trace: str | None = None,
        started: bool = False,
        finished: bool = False,
    ) -> None:
        """Change a job's record."""

        def apply(tx: Transaction) -> None:
            record = tx.get(JOB, job_id)
            if record is None or record["status"] in FINISHED:
                return
            change: dict[str, Any] = {"updated_at": tx.now_ms}
            if status is not None:
                change["status"] = status
            if message is not None:
                change["message"] = message
            if trace is not None:
                change["exception_trace"] = trace
            if started:
                change["started_at"] = tx.now_ms
            if finished:
                change |= {"finished_at": tx.now_ms, "resume": None}
            tx.put(JOB, job_id, {**record, **change})

        self._engine.transact(apply)

    def drain(self) -> None:
        """Wait until every job that is queued now has ended."""
        self._pool.submit(lambda: None).result()

    def kill(self, job_id: str) -> None:
        """Cancel a job that has not ended."""
        record = self._engine.catalogue.get(JOB, job_id)
        if record is None:
            raise StatementError("not_found", f"Job '{job_id}' not found")
        if record["status"] in FINISHED:
            raise StatementError("invalid_operation", f"Job '{job_id}' is already {record['status']}")
        job = self._running.get(job_id)
        if job is not None:
            job.cancelled.set()
        self.update(job_id, status="cancelled", message="cancelled", finished=True)

    def _forget_old(self, tx: Transaction) -> None:
        ids = self._engine.catalogue.names(JOB)
        if len(ids) <= KEPT:
            return
        ended = [
            (r["created_at"], i) for i, r in self._engine.catalogue.items(JOB) if r["status"] in FINISHED
        ]
        for _, job_id in sorted(ended)[: len(ids) - KEPT]:
            tx.remove(JOB, job_id)

    def close(self) -> None:
        """Cancel what runs and take no more."""
        self._closing.set()
        for job in list(self._running.values()):
            job.cancelled.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
