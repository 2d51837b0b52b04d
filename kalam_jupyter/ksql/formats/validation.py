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
