"""``python -m tests.conformance PATH.. [options]``: the cases of the ksqlDB project against ours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conformance import report, runner


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and return the exit status: 0 if all passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, help="case files, or folders of them")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--case", default="", metavar="TEXT", help="only cases whose name contains TEXT")
    parser.add_argument("--failed", action="store_true", help="print why cases failed, before the table")
    parser.add_argument(
        "--workers", type=int, default=runner.WORKERS, help="processes (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=int, help="most input records appended together")
    parser.add_argument("--columns", action="store_true", help="let every batch take the column form")
    options = parser.parse_args(arguments)
    chosen = runner.cases(options.paths, options.case)
    outcomes = list(runner.run_all(chosen, options.workers, options.batch_size, columns=options.columns))
    if options.json:
        print(report.as_json(outcomes))
    else:
        if options.failed or options.case:
            print(report.failures(outcomes))
        print(report.table(outcomes))
    return 0 if all(o.status == "passed" for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
