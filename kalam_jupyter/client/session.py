"""ksqlDB's session state, kept by the client: the server forgets SET and DEFINE after each request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kalam_jupyter.client.script import Statement


@dataclass
class Session:
    """What SET and DEFINE said so far.

    Attributes
    ----------
    properties : dict of str to str
    variables : dict of str to str
        Names as they were written; ksqlDB compares them without case.
    """

    properties: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def apply(self, statements: Iterable[Statement]) -> None:
        """Take over what SET, UNSET, DEFINE and UNDEFINE among executed statements said."""
        for statement in statements:
            match statement.setting:
                case ("set", name, value) if value is not None:
                    self.properties[name] = value
                case ("unset", name, _):
                    self.properties.pop(name, None)
                case ("define", name, value) if value is not None:
                    self.undefine(name)
                    self.variables[name] = value
                case ("undefine", name, _):
                    self.undefine(name)

    def undefine(self, name: str) -> None:
        """Forget a variable, however its name is written."""
        for known in [k for k in self.variables if k.lower() == name.lower()]:
            del self.variables[known]
