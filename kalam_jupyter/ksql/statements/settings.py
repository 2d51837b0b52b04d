"""SET, UNSET, DEFINE, UNDEFINE, ALTER SYSTEM."""

from __future__ import annotations

from kalam_jupyter.ksql.config import canonical, is_known
from kalam_jupyter.ksql.errors import StatementError
from kalam_jupyter.ksql.lang import ast
from kalam_jupyter.ksql.statements.entities import Entity, entity
from kalam_jupyter.ksql.statements.run import Run

_CHOICES = {"ksql.streams.auto.offset.reset": ("earliest", "latest")}


def set_property(run: Run, s: ast.SetProperty, text: str) -> None:
    """SET a property for the statements that follow."""
    name = canonical(s.name)
    _check_known(s.name)
    choices = _CHOICES.get(name)
    if choices is not None and s.value.lower() not in choices:
        raise StatementError(
            f"Invalid value {s.value} for configuration {s.name}: String must be one of: "
            f"{', '.join(choices)}, none"
        )
    run.override(name, s.value)


def _check_known(name: str) -> None:
    if not is_known(canonical(name)):
        raise StatementError(f"Unknown property: {name}")


def unset_property(run: Run, s: ast.UnsetProperty, text: str) -> None:
    """UNSET: take an override back."""
    _check_known(s.name)
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
    """ALTER SYSTEM: only servers that share query runtimes take it."""
    raise StatementError(
        f"Cannot write to the system property {s.name}: ALTER SYSTEM needs shared query runtimes."
    )
