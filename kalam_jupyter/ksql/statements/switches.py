"""Features that a server may switch off, each by a property of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.statements.run import Run


@dataclass(frozen=True)
class Switch:
    """A feature: the property that has it on, and whether a node of a statement uses it."""

    name: str
    what: str
    uses: Callable[[Any], bool]


SWITCHES = (
    Switch(
        "ksql.create.or.replace.enabled",
        "CREATE OR REPLACE",
        lambda node: isinstance(node, ast.CreateSource | ast.CreateSourceAs) and node.or_replace,
    ),
    Switch(
        "ksql.suppress.enabled",
        "Suppression (EMIT FINAL)",
        lambda node: isinstance(node, ast.Query) and node.emit == "FINAL",
    ),
    Switch("ksql.lambdas.enabled", "Lambda functions", lambda node: isinstance(node, ast.Lambda)),
    Switch(
        "ksql.headers.columns.enabled",
        "Header columns",
        lambda node: isinstance(node, ast.TableElement) and node.constraint in ("HEADER", "HEADERS"),
    ),
)


def check_switched_on(run: Run, statement: ast.Statement) -> None:
    """Refuse a statement that uses what is switched off; one that is made again stays as it was.

    Raises
    ------
    StatementError
    """
    off = [switch for switch in SWITCHES if not run.config.flag(switch.name)]
    if not off or run.restored is not None:
        return
    for node in ast.walk(statement):
        for switch in off:
            if switch.uses(node):
                raise StatementError(
                    f"{switch.what}: currently disabled. You can enable it by setting {switch.name} to true."
                )
