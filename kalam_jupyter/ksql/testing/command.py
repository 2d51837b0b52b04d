"""``kalam test``: the command line of statement tests. The engine is imported when a test runs."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

USAGE = """\
kalam test -s statements.sql -i input.json -o output.json [-e extension.py]
       kalam test script.sql [-e extension.py]"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.usage = USAGE
    parser.add_argument(
        "script",
        nargs="?",
        type=Path,
        metavar="script.sql",
        help="tests in one SQL script: --@test: name, INSERT, ASSERT VALUES ..",
    )
    parser.add_argument("-s", "--sql-file", type=Path, metavar="FILE", help="the statements")
    parser.add_argument(
        "-i",
        "--input-file",
        type=Path,
        metavar="FILE",
        help='input records: {"inputs": [..]}',
    )
    parser.add_argument(
        "-o", "--output-file", type=Path, metavar="FILE", help='expected records: {"outputs": [..]}'
    )
    parser.add_argument(
        "-e", "--extension", type=Path, metavar="FILE", help="Python file with functions (kalam_jupyter.udf)"
    )


def main(arguments: argparse.Namespace) -> int:
    """Run the test; return 0 if it passes, 1 if it does not or is not a test."""
    from kalam_jupyter.ksql.testing.files import InvalidTestError, load_extension

    # A query that dies is told as the test's failure.
    logging.disable(logging.CRITICAL)
    try:
        _check(arguments)
        if arguments.extension is not None:
            load_extension(arguments.extension)
        passed = _script(arguments.script) if arguments.script is not None else _files(arguments)
    except InvalidTestError as error:
        print(f"kalam test: {error}", file=sys.stderr)
        return 1
    finally:
        logging.disable(logging.NOTSET)
    return 0 if passed else 1


def _check(arguments: argparse.Namespace) -> None:
    from kalam_jupyter.ksql.testing.files import InvalidTestError

    of_files = (arguments.sql_file, arguments.input_file, arguments.output_file)
    if arguments.script is not None:
        if any(f is not None for f in of_files):
            raise InvalidTestError("a script stands alone: without -s, -i and -o")
    elif arguments.sql_file is None or arguments.output_file is None:
        raise InvalidTestError(f"-s and -o are needed, or a script\nusage: {USAGE}")


def _files(arguments: argparse.Namespace) -> bool:
    from kalam_jupyter.ksql.testing import files
    from kalam_jupyter.ksql.testing.execution import FailedError

    test = files.load(arguments.sql_file, arguments.input_file, arguments.output_file)
    try:
        found = files.run(test)
    except FailedError as failure:
        print(f"FAIL  {arguments.sql_file}\n{failure}")
        return False
    if found:
        print(f"FAIL  {arguments.sql_file}")
        for difference in found:
            print(files.report(difference))
        return False
    topics = len({r.topic for r in test.outputs})
    print(f"PASS  {arguments.sql_file}: {_count(len(test.outputs), 'record')} in {_count(topics, 'topic')}")
    return True


def _script(path: Path) -> bool:
    from kalam_jupyter.ksql.testing import script
    from kalam_jupyter.ksql.testing.execution import FailedError

    tests = script.load(path)
    failed = 0
    for test in tests:
        try:
            script.run(test, path.parent)
        except FailedError as failure:
            failed += 1
            print(f"FAIL  {test.name}\n      {str(failure).replace(chr(10), chr(10) + '      ')}")
        else:
            print(f"PASS  {test.name}")
    if len(tests) > 1:
        print(f"{len(tests) - failed} of {_count(len(tests), 'test')} passed")
    return not failed


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
