"""Layers of properties, and which of them a client may override."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

from kalam_jupyter.ksql.errors import KsqlError, RequestError, StatementError
from kalam_jupyter.ksql.properties import PROPERTIES, canonical, find, is_known

_DEFAULTS = {name: p.default for name, p in PROPERTIES.items()}
_LOCKED = frozenset({"ksql.service.id"})


class Config(Mapping[str, Any]):
    """Layers of properties: defaults, the server's, and those of a session or request on top.

    Any spelling of a name finds its property.
    """

    def __init__(self, *layers: Mapping[str, Any]) -> None:
        maps = [{canonical(name): value for name, value in layer.items()} for layer in reversed(layers)]
        self._values: ChainMap[str, Any] = ChainMap(*maps, _DEFAULTS)

    def __getitem__(self, name: str) -> Any:
        found = self._values.get(name, self)
        return self._values[canonical(name)] if found is self else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def flag(self, name: str) -> bool:
        """Return a boolean property."""
        return str(self.get(name)).strip().lower() == "true"

    def flag_or_none(self, name: str) -> bool | None:
        """Return a boolean property, None where it is not set."""
        return None if self.get(name) is None else self.flag(name)

    def names(self, name: str) -> frozenset[str]:
        """Return a property that is a comma list."""
        return frozenset(part.strip() for part in str(self.get(name) or "").split(",") if part.strip())

    def matches(self, name: str, text: str) -> bool:
        """Whether one of a property's comma list of regular expressions matches the whole of `text`."""
        return any(re.fullmatch(pattern, text) for pattern in self.names(name))

    def with_layer(self, layer: Mapping[str, Any]) -> Config:
        """Return these properties with a session's on top; what only the server may say stays."""
        if not layer:
            return self
        made = Config()
        own = {canonical(n): v for n, v in layer.items() if not find(n).server}
        made._values = self._values.new_child(own)
        return made


def check_overrides(config: Config, overrides: Mapping[str, Any]) -> None:
    """Refuse overrides of a request that nothing knows, that are not allowed, or whose value cannot be.

    Raises
    ------
    RequestError
        40000, with the texts of section 3.3 of the HTTP contract.
    """
    for name, value in overrides.items():
        check_override(config, name)
        if find(name).fault(value) is not None:
            raise RequestError(
                f"Failed to coerce type of value '{value}' for key '{name}': {find(name).fault(value)}"
            )


def check_override(config: Config, name: str) -> None:
    """Refuse a property that nothing knows, or that clients may not override (RequestError)."""
    known = canonical(name)
    if not is_known(known):
        raise RequestError(f"Not recognizable as ksql, streams, consumer, or producer property: '{name}'")
    denied = _LOCKED | {canonical(n) for n in config.names("ksql.properties.overrides.denylist")}
    if known in denied:
        raise RequestError(
            "One or more properties overrides set locally are prohibited by the KSQL server denylist (use "
            f"UNSET to reset their default value): [{name}]"
        )
    allowed = {canonical(n) for n in config.names("ksql.properties.overrides.allowlist")}
    if config["ksql.properties.overrides.validation.mode"] == "allowlist" and known not in allowed:
        raise RequestError(
            "One or more property overrides set locally are not permitted by the KSQL server allowlist (use "
            f"UNSET to reset their default value): [{name}]"
        )


def check_set(config: Config, name: str, value: str) -> None:
    """Refuse a SET of a property that nothing knows, that is not allowed, or to what it cannot be.

    Raises
    ------
    KsqlError
    """
    check_named(name)
    check_override(config, name)
    fault = find(name).fault(value)
    if fault is not None:
        raise StatementError(f"Invalid value {value} for configuration {name}: {fault}")


def check_named(name: str) -> None:
    """Refuse a name that is no property's (StatementError)."""
    if not is_known(canonical(name)):
        raise StatementError(f"Unknown property: {name}")


def check_server(config: Mapping[str, Any]) -> None:
    """Refuse a server's property whose value cannot be (KsqlError)."""
    for name, value in config.items():
        fault = None if value is None else find(name).fault(value)
        if fault is not None:
            raise KsqlError(f"Invalid value {value} for configuration {name}: {fault}")
        if name in ("ksql.hidden.topics", "ksql.readonly.topics"):
            _check_patterns(name, str(value))


def _check_patterns(name: str, value: str) -> None:
    for pattern in value.split(","):
        try:
            re.compile(pattern.strip())
        except re.error as error:
            raise KsqlError(f"Invalid value {value} for configuration {name}: {error}") from None
