"""One table for every benchmark: what was measured, against which goal or peer."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field


@dataclass
class Line:
    """One figure.

    Attributes
    ----------
    name : str
    value : float
    unit : str
    goal : str
        As the issue states it, empty when it states none.
    met : bool or None
        None when there is no goal to meet.
    note : str
    """

    name: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    note: str = ""


@dataclass
class Report:
    """Figures of one run, printed as they come and again as JSON with ``--json``."""

    title: str
    lines: list[Line] = field(default_factory=list)

    def add(
        self, name: str, value: float, unit: str, goal: str = "", met: bool | None = None, note: str = ""
    ) -> None:
        """Record and print one figure."""
        line = Line(name, value, unit, goal, met, note)
        self.lines.append(line)
        if "--json" not in sys.argv:
            mark = {True: "ok  ", False: "MISS", None: "    "}[met]
            shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
            print(f"{mark} {name:<58} {shown:>12} {unit:<10} {goal:<18} {note}", flush=True)

    def finish(self) -> int:
        """Print the JSON form if asked for and return a process exit code (a missed goal is not an error)."""
        if "--json" in sys.argv:
            print(json.dumps({"title": self.title, "lines": [asdict(line) for line in self.lines]}))
        return 0


def median_seconds(run: Callable[[], object], repeat: int = 5) -> float:
    """Return the median wall time of `repeat` calls, in seconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
