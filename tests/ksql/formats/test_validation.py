"""What formats refuse, word for word."""

from __future__ import annotations

import pytest

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.formats import (
    UNWRAP_SINGLES,
    WRAP_SINGLES,
    FormatInfo,
    check_key_types,
    check_side,
    key_features,
    value_features,
)


def columns(is_key: bool = False, **types: t.DataType) -> list[t.Column]:
    return [t.Column(name, type_, key=is_key) for name, type_ in types.items()]


def reason(format_: str, **types: t.DataType) -> str:
    info = FormatInfo.of(format_)
    with pytest.raises(KsqlError) as caught:
        info.format.check(columns(**types), info)
    return caught.value.message


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(KsqlError, match=r"^Unknown format: FOO$"):
        FormatInfo.of("foo")


@pytest.mark.parametrize(
    ("format_", "types", "message"),
    [
        (
            "DELIMITED",
            {"K": t.Array(t.DOUBLE)},
            "The 'DELIMITED' format does not support type 'ARRAY', column: `K`",
        ),
        (
            "DELIMITED",
            {"K": t.Struct(())},
            "The 'DELIMITED' format does not support type 'STRUCT', column: `K`",
        ),
        ("KAFKA", {"K": t.Decimal(2, 1)}, "The 'KAFKA' format does not support type 'DECIMAL'"),
        ("KAFKA", {"K": t.BOOLEAN}, "The 'KAFKA' format does not support type 'BOOLEAN'"),
        (
            "KAFKA",
            {"V0": t.INTEGER, "V1": t.STRING},
            "The 'KAFKA' format only supports a single field. Got: [`V0` INTEGER, `V1` STRING]",
        ),
        ("JSON", {"V": t.Array(t.Map(t.INTEGER, t.STRING))}, "JSON only supports MAP types with STRING keys"),
        (
            "NONE",
            {"FOO": t.INTEGER},
            "The 'NONE' format can only be used when no columns are defined. Got: [`FOO` INTEGER]",
        ),
    ],
)
def test_a_format_says_what_it_cannot_hold(format_: str, types: dict[str, t.DataType], message: str) -> None:
    assert reason(format_, **types) == message


def test_a_refused_key_shows_format_schema_and_reason() -> None:
    with pytest.raises(KsqlError) as caught:
        check_side(FormatInfo("KAFKA"), columns(True, K1=t.INTEGER, K2=t.INTEGER), is_key=True)
    assert caught.value.message == (
        "Key format does not support schema.\nformat: KAFKA\n"
        "schema: Persistence{columns=[`K1` INTEGER KEY, `K2` INTEGER KEY], features=[]}\n"
        "reason: The 'KAFKA' format only supports a single field. Got: [`K1` INTEGER KEY, `K2` INTEGER KEY]"
    )


def test_keys_hold_no_maps() -> None:
    with pytest.raises(KsqlError) as caught:
        check_key_types(columns(True, K=t.Struct((("F", t.Map(t.STRING, t.STRING)),))))
    assert caught.value.message.endswith(
        "Key column name: `K`. Column type: STRUCT<`F` MAP<STRING, STRING>>. "
        "See https://github.com/confluentinc/ksql/issues/6621 for more."
    )
    check_key_types(columns(True, K=t.Struct((("F", t.Array(t.STRING)),))))


def test_a_format_takes_only_its_own_properties() -> None:
    with pytest.raises(KsqlError, match=r"^JSON does not support the following configs: \[delimiter\]$"):
        FormatInfo.of("JSON", {"delimiter": "|"})


def test_wrapping_is_asked_for_or_left_to_the_format() -> None:
    json, one, two = FormatInfo("JSON"), columns(V=t.INTEGER), columns(V=t.INTEGER, W=t.INTEGER)
    assert value_features(json, one, None) == set()
    assert value_features(json, one, True) == {WRAP_SINGLES}
    assert value_features(json, one, False) == {UNWRAP_SINGLES}
    assert value_features(json, one, None, False) == {UNWRAP_SINGLES}
    assert value_features(json, two, None, False) == set()
    assert value_features(FormatInfo("KAFKA"), one, None, True) == set()
    with pytest.raises(
        KsqlError, match=r"^'WRAP_SINGLE_VALUE' is only valid for single-field value schemas$"
    ):
        value_features(json, two, True)
    with pytest.raises(
        KsqlError, match=r"^Format 'KAFKA' does not support 'WRAP_SINGLE_VALUE' set to 'true'.$"
    ):
        value_features(FormatInfo("KAFKA"), one, True)


def test_a_single_key_column_is_unwrapped_where_both_are_possible() -> None:
    one = columns(True, K=t.INTEGER)
    assert key_features(FormatInfo("JSON"), one) == {UNWRAP_SINGLES}
    assert key_features(FormatInfo("KAFKA"), one) == set()
    assert key_features(FormatInfo("JSON"), one * 2) == set()
