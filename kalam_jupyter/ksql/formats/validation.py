"""Whether a source's columns, formats and wrapping go together; each refusal in the reference's words."""

from __future__ import annotations

from collections.abc import Sequence

from kalam_jupyter.engine.types import Column, Map
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats.base import (
    NO_FEATURES,
    UNWRAP_SINGLES,
    WRAP_SINGLES,
    FormatInfo,
    columns_text,
    find_type,
)

NAMED_DELIMITERS = {"TAB": "\t", "SPACE": " "}
_DELIMITER_EXAMPLE = "\nExample valid value: ';'"


def parse_delimiter(text: str) -> str:
    """Return the delimiter that a KEY_DELIMITER or VALUE_DELIMITER property names.

    Raises
    ------
    KsqlError
        If `text` is blank, or neither one character nor TAB nor SPACE. The message is the reason; see
        `check_delimiter` for the full sentence.
    """
    if not text.strip():
        raise KsqlError(
            "Delimiter cannot be empty, if you meant to have a tab or space for delimiter, "
            "please use the special values 'TAB' or 'SPACE'"
        )
    if len(text) == 1:
        return text
    try:
        return NAMED_DELIMITERS[text.upper()]
    except KeyError:
        raise KsqlError(
            f"Invalid delimiter value: '{text}'. Delimiter must be a single character or TAB,SPACE"
        ) from None


def check_delimiter(property_name: str, text: str) -> None:
    """Refuse a bad delimiter: ``Configuration VALUE_DELIMITER is invalid: ...``."""
    try:
        parse_delimiter(text)
    except KsqlError as error:
        raise KsqlError(
            f"Configuration {property_name} is invalid: {error.message}{_DELIMITER_EXAMPLE}"
        ) from None


def key_features(info: FormatInfo, columns: Sequence[Column]) -> frozenset[str]:
    """Return the serde features of a key: one column is unwrapped where the format could do both."""
    if len(columns) == 1 and info.format.features >= {WRAP_SINGLES, UNWRAP_SINGLES}:
        return frozenset({UNWRAP_SINGLES})
    return NO_FEATURES


def value_features(
    info: FormatInfo, columns: Sequence[Column], wrap: bool | None, default_wrap: bool | None = None
) -> frozenset[str]:
    """Return the serde features of a value.

    Parameters
    ----------
    info : FormatInfo
    columns : sequence of Column
        The value columns.
    wrap : bool or None
        WRAP_SINGLE_VALUE of the statement, None when it does not say.
    default_wrap : bool or None
        ``ksql.persistence.wrap.single.values`` when it was set; a format that cannot do it ignores it.

    Raises
    ------
    KsqlError
        If `wrap` is given for several columns, or the format cannot do it.
    """
    single = len(columns) == 1
    if wrap is None:
        if not single or default_wrap is None:
            return NO_FEATURES
        feature = WRAP_SINGLES if default_wrap else UNWRAP_SINGLES
        return frozenset({feature}) & info.format.features
    if not single:
        raise KsqlError("'WRAP_SINGLE_VALUE' is only valid for single-field value schemas")
    feature = WRAP_SINGLES if wrap else UNWRAP_SINGLES
    if feature not in info.format.features:
        raise KsqlError(
            f"Format '{info.name}' does not support 'WRAP_SINGLE_VALUE' set to '{str(wrap).lower()}'."
        )
    return frozenset({feature})


def check_side(
    info: FormatInfo, columns: Sequence[Column], *, is_key: bool, features: frozenset[str] = NO_FEATURES
) -> None:
    """Refuse columns that the format of a key or value cannot hold.

    Raises
    ------
    KsqlError
        ``Key format does not support schema.`` with format, schema and reason on the next lines.
    """
    try:
        info.format.check(columns, info)
    except KsqlError as error:
        side = "Key" if is_key else "Value"
        raise KsqlError(
            f"{side} format does not support schema.\nformat: {info.name}\n"
            f"schema: Persistence{{columns={columns_text(columns)}, "
            f"features=[{', '.join(sorted(features))}]}}\nreason: {error.message}"
        ) from None


def check_key_types(columns: Sequence[Column]) -> None:
    """Refuse key columns that are, or contain, maps: equal maps need not have equal bytes."""
    for column in columns:
        if find_type(column.type, lambda t: isinstance(t, Map)):
            raise KsqlError(
                "Map keys, including types that contain maps, are not supported as they may lead to "
                "unexpected behavior due to inconsistent serialization. "
                f"Key column name: `{column.name}`. Column type: {column.type}. "
                "See https://github.com/confluentinc/ksql/issues/6621 for more."
            )
