"""Serialization formats: how keys and values of ksqlDB topics become bytes and back.

`KsqlCodec` is what topics use; `FormatInfo` and `SerdeFormat` are what a source declares; the checks in
`validation` are what statements are refused by.
"""

from kalam_jupyter.ksql.formats import avro, delimited, json_format, json_sr, kafka, none, protobuf
from kalam_jupyter.ksql.formats.base import (
    NO_FEATURES,
    UNWRAP_SINGLES,
    WRAP_SINGLES,
    Format,
    FormatInfo,
    SerdeFormat,
    format_names,
    format_of,
)
from kalam_jupyter.ksql.formats.codec import CODEC_NAME, KeyWindow, KsqlCodec, codec_from_descriptor
from kalam_jupyter.ksql.formats.validation import (
    check_key_types,
    check_side,
    key_features,
    value_features,
)

__all__ = [
    "CODEC_NAME",
    "NO_FEATURES",
    "UNWRAP_SINGLES",
    "WRAP_SINGLES",
    "Format",
    "FormatInfo",
    "KeyWindow",
    "KsqlCodec",
    "SerdeFormat",
    "avro",
    "check_key_types",
    "check_side",
    "codec_from_descriptor",
    "delimited",
    "format_names",
    "format_of",
    "json_format",
    "json_sr",
    "kafka",
    "key_features",
    "none",
    "protobuf",
    "value_features",
]
