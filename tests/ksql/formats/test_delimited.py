"""DELIMITED, as section 15.2 of the contract has it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.formats.columns import ColumnReader
from tests.ksql.formats.support import codec_of, read, write

TWO = {"A": t.STRING, "B": t.STRING}


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (("a", "b"), "a,b"),
        (("a,b", 'say "x"'), '"a,b","say ""x"""'),
        (("line\nend", "x\r"), '"line\nend","x\r"'),
        (("-x", "-x"), '"-x",-x'),
        (("é", "é"), '"é",é'),
        (("", ""), '"",'),
        ((None, None), ","),
        (("a", "#b"), 'a,"#b"'),
        (("a", " b"), 'a," b"'),
        (("a ", "b\t"), '"a ","b\t"'),
    ],
)
def test_fields_are_quoted_by_position_and_content(row: tuple[str | None, ...], line: str) -> None:
    assert write(codec_of("DELIMITED", TWO), row) == [line.encode()]


def test_numbers_are_written_as_text_and_negative_ones_quoted_in_front() -> None:
    types = {"I": t.INTEGER, "D": t.DOUBLE, "M": t.Decimal(6, 2), "B": t.BOOLEAN, "Y": t.BYTES}
    codec = codec_of("DELIMITED", types)
    assert write(codec, (-10, -1e10, Decimal("-5.5"), True, b"\x01")) == [b'"-10",-1.0E10,-5.50,true,AQ==']
    assert write(codec_of("DELIMITED", {"I": t.INTEGER}), (None,), (5,), None) == [b"", b"5", None]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("a,b", ("a", "b")),
        (" a , b ", (" a ", " b ")),
        (",", (None, None)),
        ('"",x', (None, "x")),
        ('"a,b","say ""x"""', ("a,b", 'say "x"')),
        ('"a" ,b', ("a", "b")),
        ('a"b,c', ('a"b', "c")),
        ('"two\nlines",b', ("two\nlines", "b")),
        ("a,b\nc,d", ("a", "b")),
    ],
)
def test_lines_are_split_as_csv(line: str, row: tuple[str | None, ...]) -> None:
    assert read(codec_of("DELIMITED", TWO), line.encode()) == [row]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "No fields in record"),
        ("a", "Unexpected field count, csvFields:1 schemaFields:2"),
        ("a,b,c", "Unexpected field count, csvFields:3 schemaFields:2"),
        ('"a"x,b', "invalid char between encapsulated token and delimiter"),
        ('"a,b', "EOF reached before encapsulated token finished"),
    ],
)
def test_a_bad_line_is_an_error(line: str, message: str) -> None:
    assert read(codec_of("DELIMITED", TWO), line.encode()) == [message]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (t.INTEGER, "+5", 5),
        (t.BOOLEAN, "TRUE", True),
        (t.BOOLEAN, "yes", False),
        (t.DOUBLE, " 1e3 ", 1000.0),
        (t.Decimal(4, 2), "1.5", Decimal("1.50")),
        (t.DATE, "10", 10),
        (t.TIME, "1000", 1000),
        (t.BYTES, "AQ==", b"\x01"),
    ],
)
def test_a_field_is_read_by_its_type(type_: t.DataType, text: str, value: object) -> None:
    assert read(codec_of("DELIMITED", {"V": type_}), text.encode()) == [(value,)]


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (t.INTEGER, " 5"),
        (t.INTEGER, "5.0"),
        (t.INTEGER, "2147483648"),
        (t.BIGINT, "x"),
        (t.BIGINT, "9" * 5000),
        (t.Decimal(4, 2), "1e99999999999999999999"),
        (t.DOUBLE, "x"),
        (t.Decimal(4, 2), "1.555"),
        (t.Decimal(4, 2), "100"),
        (t.DATE, "2020-01-01"),
        (t.TIME, "86400001"),
        (t.BYTES, "*"),
    ],
)
def test_a_field_of_another_kind_is_an_error(type_: t.DataType, text: str) -> None:
    assert isinstance(read(codec_of("DELIMITED", {"V": type_}), text.encode())[0], str)


@pytest.mark.parametrize(("name", "char"), [("|", "|"), ("TAB", "\t"), ("SPACE", " "), (" ", " ")])
def test_the_delimiter_is_a_property(name: str, char: str) -> None:
    codec = codec_of("DELIMITED", TWO, delimiter=name)
    assert write(codec, ("a,b", "c")) == [f"a,b{char}c".encode()]
    assert read(codec, f"x{char}y".encode(), f'"x{char}"{char}y'.encode()) == [("x", "y"), (f"x{char}", "y")]


@given(st.lists(st.text(min_size=1), min_size=2, max_size=4), st.sampled_from([",", "|", "\t"]))
def test_texts_are_read_back(texts: list[str], delimiter: str) -> None:
    codec = codec_of(
        "DELIMITED",
        {f"C{i}": t.STRING for i in range(len(texts))},
        delimiter=delimiter if delimiter != "\t" else "TAB",
    )
    assert read(codec, *write(codec, tuple(texts))) == [tuple(texts)]


def test_only_what_never_collapses_is_lossless() -> None:
    assert not codec_of("DELIMITED", TWO).lossless
    assert not codec_of("DELIMITED", {"A": t.INTEGER}).lossless
    assert codec_of("DELIMITED", {"A": t.INTEGER, "B": t.DOUBLE}).lossless


FIELDS = {"S": t.STRING, "I": t.INTEGER, "B": t.BIGINT, "D": t.DOUBLE, "F": t.BOOLEAN, "T": t.TIMESTAMP}
PLAIN = [b"a", b"1", b"-2", b"0.5", b"true", b"3"]
ODD_FIELDS = [
    b"",
    b"x,y",
    b'"',
    b'"q"',
    b"\n",
    b"\r",
    b"\xff",
    b"\xc3\xa9",
    b"true",
    b"TRUE",
    b"false",
    b"no",
]
ODD_FIELDS += (
    b"0 -0 007 +1 1. 1.e5 .5 1e400 1.5f NaN -Infinity 2147483648 9223372036854775808 0x1F 1e 1_0".split()
)


@pytest.mark.parametrize("position", range(len(FIELDS)))
@pytest.mark.parametrize("names", [list(FIELDS), ["S"], ["D"]])
def test_columns_hold_what_the_rows_hold(position: int, names: list[str]) -> None:
    codec = codec_of("DELIMITED", {name: FIELDS[name] for name in names})
    reader = codec._read_value
    assert isinstance(reader, ColumnReader)
    plain = [PLAIN[list(FIELDS).index(name)] for name in names]
    assert reader.columns([b",".join(plain)] * 2) is not None
    for odd in (*ODD_FIELDS, None):
        fields = list(plain)
        fields[position % len(names)] = odd or b""
        records = [b",".join(plain), None if odd is None else b",".join(fields), b",".join(plain)]
        found = reader.columns(records)
        if found is not None:
            lists = [t.from_arrow(a, FIELDS[name]) for a, name in zip(found[0], names, strict=True)]
            assert repr((list(zip(*lists, strict=True)), [])) == repr(reader(records))
