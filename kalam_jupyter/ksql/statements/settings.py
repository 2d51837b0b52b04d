"""SET, UNSET, DEFINE, UNDEFINE, ALTER SYSTEM."""

from __future__ import annotations

import uuid

from kalam_jupyter.ksql.config import check_named, check_set
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.properties import canonical, find
from kalam_jupyter.ksql.statements.entities import Entity, command, entity
from kalam_jupyter.ksql.statements.run import Run


def set_property(run: Run, s: ast.SetProperty, text: str) -> None:
    """SET a property for the statements that follow."""
    check_set(run.ksql.config, s.name, s.value)
    run.override(canonical(s.name), s.value)


def unset_property(run: Run, s: ast.UnsetProperty, text: str) -> None:
    """UNSET: take an override back."""
    check_named(s.name)
    run.session.properties.pop(canonical(s.name), None)


def define(run: Run, s: ast.Define, text: str) -> None:
    """DEFINE a variable."""
    run.session.variables[s.name] = s.value


def undefine(run: Run, s: ast.Undefine, text: str) -> Entity | None:
    """UNDEFINE a variable; a warning if there is none."""
    if run.session.variables.pop(s.name, None) is None:
        return entity(
            "warning_entity",
            text,
            message=f"Cannot undefine variable '{s.name}' which was never defined",
        )
    return None


def alter_system(run: Run, s: ast.AlterSystem, text: str) -> Entity:
    """ALTER SYSTEM: set a property for all sessions, for good; only where query runtimes are shared."""
    if not run.ksql.config.flag("ksql.runtime.feature.shared.enabled"):
        raise StatementError(
            f"Cannot write to the system property {s.name}: ALTER SYSTEM needs shared query runtimes. Set "
            "ksql.runtime.feature.shared.enabled=true in the server's configuration."
        )
    check_set(run.ksql.config, s.name, s.value)
    name = canonical(s.name)
    if find(name).server or not find(name).editable:
        raise StatementError(f"Cannot write to the system property {s.name}: it belongs to the server.")
    sequence = run.next_sequence()
    run.change(lambda tx: tx.put("ksql.system", name, s.value))
    if not run.dry:
        run.ksql.load_config()
    message = f"System property {s.name} was set to {s.value}."
    return command(text, f"cluster/{uuid.uuid4()}/alter", message, sequence)
