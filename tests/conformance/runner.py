"""Runs many cases in worker processes."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from kalam_jupyter.ksql.runtime import reader, topology
from tests.conformance.execution import Outcome, run
from tests.conformance.loader import Case, find_files, load
from tests.conformance.rest_execution import run_rest

WORKERS = 2
KNOWN_FAILURES = Path(__file__).with_name("known_failures.txt")
KNOWN_REST_FAILURES = Path(__file__).with_name("known_failures_rest.txt")


def cases(paths: Sequence[Path], containing: str = "") -> list[Case]:
    """Return the cases of files and folders whose name contains a text."""
    return [c for f in find_files(list(paths)) for c in load(f) if containing.lower() in c.name.lower()]


def run_all(
    chosen: Sequence[Case], workers: int = WORKERS, batch_size: int | None = None, *, columns: bool = False
) -> Iterator[Outcome]:
    """Yield the outcomes in the order of the cases.

    Parameters
    ----------
    chosen : sequence of Case
    workers : int
        Processes.
    batch_size : int, optional
        Most input records that are appended together.
    columns : bool
        Whether even the smallest batch takes the column form, where there is one.
    """
    one = partial(_run_one, batch_size=batch_size, columns=columns)
    if workers <= 1 or len(chosen) < 20:
        _quiet()
        yield from map(one, chosen)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_quiet) as pool:
        yield from pool.imap(one, chosen, chunksize=16)


def _run_one(case: Case, batch_size: int | None, *, columns: bool) -> Outcome:
    with column_form() if columns else nullcontext():
        return run(case, batch_size) if case.rest is None else run_rest(case)


@contextmanager
def column_form() -> Iterator[None]:
    """Let batches of one row take the column form."""
    before = topology.COLUMN_ROWS, reader.CONVERT_ROWS
    topology.COLUMN_ROWS = reader.CONVERT_ROWS = 1
    try:
        yield
    finally:
        topology.COLUMN_ROWS, reader.CONVERT_ROWS = before


def _quiet() -> None:
    """Queries that fail on purpose need no log."""
    logging.disable(logging.CRITICAL)


def known_failures(path: Path = KNOWN_FAILURES) -> list[str]:
    """Return the names in a list of known failures."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
