"""The properties of a WITH clause: which there are, of what type, where they may stand.

Checks that need nothing but the clause itself are made here, when the statement is prepared. What depends
on columns, formats or configuration is the planner's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kalam_jupyter.ksql.lang.ast import UNIT_MS, Literal, Properties
from kalam_jupyter.ksql.lang.cursor import suggestion

ANY_SOURCE = ("create", "create as")


class InvalidPropertyError(ValueError):
    """A property that cannot stand there, or has a value that it cannot have.

    Attributes
    ----------
    message : str
        For users.
    name : str or None
        The property, or None where one is missing.
    """

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.name = name


@dataclass(frozen=True)
class Property:
    """One property.

    Attributes
    ----------
    read : callable
        From the literal's value to the property's; raises `InvalidPropertyError`.
    uses : tuple of str
        Statements that take it: create, create as, insert into, assert topic.
    """

    read: Callable[[str, Any], Any]
    uses: tuple[str, ...] = ANY_SOURCE


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidPropertyError(
            f"Invalid value {value} for property {name}: Expected value to be a string, but it was not",
            name,
        )
    return value


def _integer(low: int, high: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        try:
            if isinstance(value, bool) or not isinstance(value, int | str):
                raise ValueError
            number = int(value)
        except ValueError:
            raise InvalidPropertyError(
                f"Invalid value {value} for property {name}: Not a number of type INT",
                name,
            ) from None
        if not low <= number <= high:
            raise InvalidPropertyError(
                f"Invalid value {value} for property {name}: Must be between {low} and {high}",
                name,
            )
        return number

    return read


def _boolean(name: str, value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise InvalidPropertyError(
            f"Invalid value {value} for property {name}: Expected value to be either true or false",
            name,
        )
    return text == "true"


def _delimiter(name: str, value: Any) -> str:
    text = _text(name, value)
    if not text.strip():
        raise InvalidPropertyError(
            f"Configuration {name} is invalid: Delimiter cannot be empty, if you meant to have a tab or "
            "space for delimiter, please use the special values 'TAB' or 'SPACE'\nExample valid value: ';'",
            name,
        )
    special = {"TAB": "\t", "SPACE": " "}.get(text.upper(), text)
    if len(special) != 1:
        raise InvalidPropertyError(
            f"Configuration {name} is invalid: Invalid delimiter value: '{text}'. Delimiter must be a single "
            "character or TAB,SPACE\nExample valid value: ';'",
            name,
        )
    return special


def _choice(*choices: str) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        text = _text(name, value).upper()
        if text not in choices:
            raise InvalidPropertyError(
                f"Configuration {name} is invalid: Unknown value '{value}', must be one of "
                + ", ".join(choices),
                name,
            )
        return text

    return read


def _duration(name: str, value: Any) -> int:
    try:
        return duration_ms(_text(name, value))
    except ValueError as error:
        raise InvalidPropertyError(f"Configuration {name} is invalid: {error}") from None


def duration_ms(text: str) -> int:
    """Return the milliseconds of a duration like ``30 SECONDS``.

    Raises
    ------
    ValueError
        With a text for users, if it is not a whole number and a unit.
    """
    amount, _, unit = text.strip().partition(" ")
    problem = f"Invalid duration: '{text}'."
    if not unit.strip():
        raise ValueError(f"{problem} Expected a number and a unit, like '30 SECONDS'")
    if not amount.isdecimal():
        raise ValueError(f"{problem} Not a whole number: '{amount}'")
    unit = unit.strip().upper()
    milliseconds = UNIT_MS.get(unit, UNIT_MS.get(f"{unit}S"))
    if milliseconds is None:
        raise ValueError(f"{problem} Unknown time unit: '{unit}'")
    return int(amount) * milliseconds


_INT = _integer(-(1 << 31), (1 << 31) - 1)
_COUNT = _integer(1, (1 << 31) - 1)
_REPLICAS = _integer(1, (1 << 15) - 1)
_LONG = _integer(-(1 << 63), (1 << 63) - 1)

PROPERTIES: dict[str, Property] = {
    "KAFKA_TOPIC": Property(_text),
    "FORMAT": Property(_text),
    "KEY_FORMAT": Property(_text),
    "VALUE_FORMAT": Property(_text),
    "KEY_DELIMITER": Property(_delimiter),
    "VALUE_DELIMITER": Property(_delimiter),
    "PARTITIONS": Property(_COUNT, (*ANY_SOURCE, "assert topic")),
    "REPLICAS": Property(_REPLICAS, (*ANY_SOURCE, "assert topic")),
    "RETENTION_MS": Property(_LONG),
    "WRAP_SINGLE_VALUE": Property(_boolean),
    "TIMESTAMP": Property(_text),
    "TIMESTAMP_FORMAT": Property(_text),
    "WINDOW_TYPE": Property(_choice("SESSION", "HOPPING", "TUMBLING"), ("create",)),
    "WINDOW_SIZE": Property(_duration, ("create",)),
    "KEY_SCHEMA_ID": Property(_INT),
    "VALUE_SCHEMA_ID": Property(_INT),
    "KEY_SCHEMA_FULL_NAME": Property(_text),
    "VALUE_SCHEMA_FULL_NAME": Property(_text),
    "VALUE_AVRO_SCHEMA_FULL_NAME": Property(_text),
    "KEY_PROTOBUF_NULLABLE_REPRESENTATION": Property(_choice("OPTIONAL", "WRAPPER")),
    "VALUE_PROTOBUF_NULLABLE_REPRESENTATION": Property(_choice("OPTIONAL", "WRAPPER")),
    "SOURCED_BY_CONNECTOR": Property(_text, ("create",)),
    "QUERY_ID": Property(_text, ("insert into",)),
}


def names_for(use: str) -> list[str]:
    """The properties that a kind of statement takes."""
    return [name for name, definition in PROPERTIES.items() if use in definition.uses]


def typed_properties(properties: Properties) -> dict[str, Any]:
    """Return the values of known properties, each of its own type.

    PARTITIONS, REPLICAS, RETENTION_MS and schema ids are int, WRAP_SINGLE_VALUE is bool, WINDOW_SIZE is
    milliseconds, a delimiter is the character itself, all others are str.

    Raises
    ------
    InvalidPropertyError
        If a value does not fit its property.
    """
    return {
        name: PROPERTIES[name].read(name, literal.value)
        for name, literal in properties.items
        if name in PROPERTIES and isinstance(literal, Literal) and literal.value is not None
    }


def check_properties(properties: Properties, use: str) -> None:
    """Check the clause of a statement of kind `use`.

    Raises
    ------
    InvalidPropertyError
    """
    if "CLEANUP_POLICY" in properties:
        raise InvalidPropertyError(
            "Invalid config variable in the WITH clause: CLEANUP_POLICY\n"
            "The CLEANUP_POLICY config is automatically inferred based on the type of source "
            "(STREAM or TABLE).\n"
            "Users can't set the CLEANUP_POLICY config manually.",
            "CLEANUP_POLICY",
        )
    allowed = names_for(use)
    unknown = [name for name in properties.names if name not in allowed]
    if unknown:
        close = suggestion(unknown[0], allowed)
        hint = f"\nDid you mean {close}?" if close else ""
        raise InvalidPropertyError(
            f"Invalid config variable(s) in the WITH clause: {', '.join(unknown)}{hint}", unknown[0]
        )
    if use == "create" and properties.get("KAFKA_TOPIC") is None:
        raise InvalidPropertyError('Missing required property "KAFKA_TOPIC" which has no default value.')
    for name in ("KEY_FORMAT", "VALUE_FORMAT"):
        if name in properties and "FORMAT" in properties:
            raise InvalidPropertyError(
                f"Cannot supply both '{name}' and 'FORMAT' properties, as 'FORMAT' sets both key and value "
                "formats. Either use just 'FORMAT', or use 'KEY_FORMAT' and 'VALUE_FORMAT'.",
                "FORMAT",
            )
    _check_window(typed_properties(properties))


def _check_window(values: dict[str, Any]) -> None:
    kind, size = values.get("WINDOW_TYPE"), values.get("WINDOW_SIZE")
    if kind is None and size is not None:
        raise InvalidPropertyError("'WINDOW_SIZE' needs 'WINDOW_TYPE' to be set as well.", "WINDOW_SIZE")
    if kind == "SESSION" and size is not None:
        raise InvalidPropertyError("'WINDOW_SIZE' should not be set for SESSION windows.", "WINDOW_SIZE")
    if kind in ("TUMBLING", "HOPPING") and not size:
        raise InvalidPropertyError(
            f"'WINDOW_SIZE' must be set for {kind} windows, and be more than 0.", "WINDOW_TYPE"
        )
