"""What a run prints: a table, the failures, or JSON."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.conformance.execution import Outcome

STATUSES = ("passed", "failed", "unsupported")


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the counts per file and in total."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        counts[outcome.file][outcome.status] += 1
        counts["TOTAL"][outcome.status] += 1
    files = [*sorted(f for f in counts if f != "TOTAL"), "TOTAL"] if outcomes else []
    width = max((len(f) for f in files), default=0)
    lines = [f"{'':{width}}  {'passed':>7} {'failed':>7} {'unsupported':>11}"]
    for file in files:
        row = counts[file]
        lines.append(f"{file:{width}}  {row['passed']:7} {row['failed']:7} {row['unsupported']:11}")
    return "\n".join(lines)


def failures(outcomes: Sequence[Outcome]) -> str:
    """Return a paragraph for each case that did not pass."""
    return "\n".join(
        f"{o.status.upper()}  {o.name}\n    {o.reason}" for o in outcomes if o.status != "passed"
    )


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Return totals, counts per file and every outcome as JSON."""
    total = Counter(o.status for o in outcomes)
    files: dict[str, Counter[str]] = defaultdict(Counter)
    for o in outcomes:
        files[o.file][o.status] += 1
    return json.dumps(
        {
            "total": {s: total[s] for s in STATUSES},
            "files": {f: {s: c[s] for s in STATUSES} for f, c in sorted(files.items())},
            "cases": [
                {"name": o.name, "status": o.status, "reason": o.reason, "warning": o.warning}
                for o in outcomes
            ],
        },
        indent=1,
    )
