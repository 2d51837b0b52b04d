"""JSON, as section 15.3 of the contract has it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.formats.json_reader import RowReader
from kalam_jupyter.ksql.formats.json_shape import ShapeReader
from tests.ksql.formats.support import UNWRAPPED, codec_of, read, write

FLAT = {"ID": t.BIGINT, "NAME": t.STRING, "X": t.DOUBLE, "N": t.INTEGER}


def one(type_: t.DataType, text: str) -> object:
    """The value of the one column V read from the JSON text of its value."""
    (row,) = read(codec_of("JSON", {"V": type_}), b'{"V":%s}' % text.encode())
    return row if isinstance(row, str) else row[0]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (t.INTEGER, "1", 1),
        (t.INTEGER, "1.9", 1),
        (t.INTEGER, "-1.9", -1),
        (t.INTEGER, '"12"', 12),
        (t.INTEGER, "2147483648", -2147483648),
        (t.INTEGER, "1e400", 0),
        (t.INTEGER, "1e1000000000", 0),
        (t.BIGINT, "9223372036854775808", -9223372036854775808),
        (t.BIGINT, '"-5"', -5),
        (t.DOUBLE, "1", 1.0),
        (t.DOUBLE, '"1.5e3"', 1500.0),
        (t.DOUBLE, '"-Infinity"', float("-inf")),
        (t.DOUBLE, "1e400", float("inf")),
        (t.Decimal(4, 2), "1.1", Decimal("1.10")),
        (t.Decimal(4, 2), '"1.1"', Decimal("1.10")),
        (t.Decimal(4, 2), "10.00", Decimal("10.00")),
        (t.Decimal(30, 20), "1234567890.12345678901234567890", Decimal("1234567890.12345678901234567890")),
        (t.BOOLEAN, "true", True),
        (t.STRING, '"x"', "x"),
        (t.STRING, "1.10", "1.10"),
        (t.STRING, "1E2", "1E+2"),
        (t.STRING, "true", "true"),
        (t.STRING, '{"b": 1, "a": [1.0, "x"]}', '{"b":1,"a":[1.0,"x"]}'),
        (t.STRING, '["a", "b", {"c": 1}, null]', '[a, b, {"c":1}, null]'),
        (t.BYTES, '"AQI="', b"\x01\x02"),
        (t.DATE, "10", 10),
        (t.DATE, '"10"', 10),
        (t.TIME, "86400000", 86_400_000),
        (t.TIMESTAMP, "-1", -1),
        (t.Array(t.INTEGER), "[1, null, 2.5]", [1, None, 2]),
        (t.Map(t.STRING, t.DOUBLE), '{"a": 1, "b": null}', {"a": 1.0, "b": None}),
        (t.Struct((("F", t.INTEGER), ("G", t.STRING))), '{"g": "x"}', (None, "x")),
        (t.INTEGER, "null", None),
    ],
)
def test_a_value_is_coerced_as_in_java(type_: t.DataType, text: str, value: object) -> None:
    found = one(type_, text)
    assert found == value
    assert str(found) == str(value), "scale of decimals, kind of numbers"


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (t.INTEGER, '"1.0"'),
        (t.INTEGER, '" 1"'),
        (t.INTEGER, '"2147483648"'),
        (t.INTEGER, "true"),
        (t.INTEGER, "[]"),
        (t.BIGINT, '"x"'),
        (t.BIGINT, f'"{"9" * 5000}"'),
        (t.DOUBLE, "true"),
        (t.DOUBLE, '"one"'),
        (t.BOOLEAN, '"true"'),
        (t.BOOLEAN, "1"),
        (t.Decimal(4, 2), "1.123"),
        (t.Decimal(4, 2), "100"),
        (t.Decimal(4, 2), '" 1"'),
        (t.Decimal(4, 2), '"NaN"'),
        (t.Decimal(4, 2), "1e1000000000"),
        (t.BYTES, '"not base64"'),
        (t.BYTES, "1"),
        (t.DATE, "1.5"),
        (t.DATE, '"2020-01-01"'),
        (t.TIME, "86400001"),
        (t.TIME, "-1"),
        (t.Array(t.INTEGER), "{}"),
        (t.Map(t.STRING, t.INTEGER), "[]"),
        (t.Struct((("F", t.INTEGER),)), "1"),
    ],
)
def test_a_value_of_another_kind_is_an_error(type_: t.DataType, text: str) -> None:
    found = one(type_, text)
    assert isinstance(found, str)
    assert "path: $.V" in found


def test_field_names_match_exactly_or_upper_cased() -> None:
    codec = codec_of("JSON", {"ID": t.INTEGER, "name": t.STRING})
    assert read(
        codec,
        b'{"ID":1,"name":"a"}',
        b'{"id":2,"name":"b"}',
        b'{"iD":3,"NAME":"not for me"}',
        b'{"id":9,"ID":4,"x":[]}',
        b"{}",
    ) == [(1, "a"), (2, "b"), (3, None), (4, None), (None, None)]


def test_a_field_fills_two_columns_that_differ_by_case() -> None:
    codec = codec_of("JSON", {"ID": t.INTEGER, "id": t.INTEGER})
    assert read(codec, b'{"id":1}', b'{"ID":1}', b'{"id":1,"ID":2}') == [(1, 1), (1, None), (2, 1)]


def test_a_bad_record_is_reported_and_the_others_are_read() -> None:
    codec = codec_of("JSON", FLAT)
    good = b'{"ID":1,"NAME":"a","X":1.5,"N":2}'
    decoded = codec.decode([None] * 5, [good, b"[1", None, b'{"ID":true}', good])
    row = (1, "a", 1.5, 2)
    assert decoded.payload.values == [row, None, row]
    assert decoded.kept is not None
    assert decoded.kept.tolist() == [0, 2, 4]
    assert [(e.index, e.target, e.data) for e in decoded.errors] == [
        (1, "value", b"[1"),
        (3, "value", b'{"ID":true}'),
    ]


@pytest.mark.parametrize(
    "data", [b"", b"1", b'"x"', b"[]", b"{", b'{"ID":1} x', b"\xff", b"[" * 100_000, b"NaN"]
)
def test_anything_but_an_object_is_an_error(data: bytes) -> None:
    assert isinstance(read(codec_of("JSON", {"ID": t.INTEGER}), data)[0], str)


def test_the_text_null_is_a_null_value() -> None:
    assert read(codec_of("JSON", {"ID": t.INTEGER}), b"null", None) == [None, None]


def test_records_with_line_ends_inside_stay_records() -> None:
    codec = codec_of("JSON", {"ID": t.INTEGER})
    assert read(codec, b'{"ID":\n1}', b'{"ID":2}') == [(1,), (2,)]
    assert all(isinstance(e, str) for e in read(codec, b'{"ID":1}\n{"ID":2}', b""))


def test_all_columns_are_written_with_java_number_text() -> None:
    codec = codec_of(
        "JSON",
        {
            "B": t.BOOLEAN,
            "D": t.DOUBLE,
            "M": t.Decimal(10, 3),
            "S": t.STRING,
            "Y": t.BYTES,
            "A": t.Array(t.DOUBLE),
            "P": t.Map(t.STRING, t.INTEGER),
            "R": t.Struct((("x%", t.DATE), ("Y", t.STRING))),
        },
    )
    row = (True, 1e10, Decimal("1.5"), 'q"\\\n', b"\x01", [1.0, None, float("nan")], {"a": None}, (3, None))
    assert write(codec, row, (None,) * 8, None) == [
        b'{"B":true,"D":1.0E10,"M":1.500,"S":"q\\"\\\\\\n","Y":"AQ==","A":[1.0,null,"NaN"],"P":{"a":null},'
        b'"R":{"x%":3,"Y":null}}',
        b'{"B":null,"D":null,"M":null,"S":null,"Y":null,"A":null,"P":null,"R":null}',
        None,
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.001, "0.001"),
        (0.00099, "9.9E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (-1.5e7, "-1.5E7"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (123456789012.5, "1.234567890125E11"),
        (float("inf"), '"Infinity"'),
        (float("-inf"), '"-Infinity"'),
    ],
)
def test_doubles_are_written_as_java_does(value: float, text: str) -> None:
    assert write(codec_of("JSON", {"V": t.DOUBLE}), (value,)) == [b'{"V":%s}' % text.encode()]


def test_a_bare_value_is_written_and_read_without_its_name() -> None:
    codec = codec_of("JSON", {"V": t.Array(t.INTEGER)}, features=UNWRAPPED)
    assert write(codec, ([1, 2],), (None,), None) == [b"[1,2]", None, None]
    assert read(codec, b"[1,2]", b'["3"]', b"null", None, b"{}")[:4] == [([1, 2],), ([3],), None, None]
    assert not codec.lossless


def test_bare_decimals_keep_their_digits() -> None:
    codec = codec_of("JSON", {"V": t.Decimal(30, 1)}, features=UNWRAPPED)
    assert read(codec, b"12345678901234567890123.5", b"null", b'"1.50"') == [
        (Decimal("12345678901234567890123.5"),),
        None,
        (Decimal("1.5"),),
    ]


SPELLINGS = st.sampled_from(["ID", "id", "Id", "NAME", "name", "X", "x", "N", "n", "other", "Other"])
CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.integers(-5, 5).map(str),
    st.lists(st.integers(0, 3), max_size=2),
    st.just({"a": 1}),
)


@given(st.lists(st.dictionaries(SPELLINGS, CELLS, max_size=8), min_size=1, max_size=12))
def test_the_typed_way_reads_what_the_exact_way_reads(objects: list[dict[str, object]]) -> None:
    """Whatever has been learned from earlier records, in whatever batches."""
    columns = t.Schema.of(
        [t.Column(n, type_) for n, type_ in (FLAT | {"A": t.Array(t.INTEGER)}).items()]
    ).columns
    learning = RowReader(columns, unwrapped=False)
    data = [json.dumps(o).encode() for o in objects]
    found = [*zip(*_rows(learning, data[:5]), strict=True), *zip(*_rows(learning, data[5:]), strict=True)]
    found += zip(*_rows(learning, data), strict=True)
    expected = []
    for record in data:
        try:
            expected.append((RowReader(columns, unwrapped=False).read_exactly(record), False))
        except ValueError:
            expected.append((None, True))
    assert repr(found) == repr(expected + expected)


FLAT_COLUMNS = t.Schema.of([t.Column(n, type_) for n, type_ in FLAT.items()]).columns
ALMOST_JSON = st.sampled_from(
    [b"null", b"", b"{}", b"{} {}", b'{"A":\n1}', b'{"A":1}\x00', b'{"A":1', b"\xff", b"1"]
)


@given(
    st.lists(st.dictionaries(SPELLINGS, CELLS, max_size=8), min_size=1, max_size=12), st.none() | ALMOST_JSON
)
def test_columns_hold_what_the_rows_hold(objects: list[dict[str, object]], odd: bytes | None) -> None:
    reader = RowReader(FLAT_COLUMNS, unwrapped=False)
    data = [json.dumps(o).encode() for o in objects] + ([] if odd is None else [odd])
    before = reader.columns(data)
    rows, errors = reader(data)
    for found in (before, reader.columns(data)):  # before and after the rows have taught the reader
        if found is not None:
            arrays, valid = found
            lists = [t.from_arrow(a, c.type) for a, c in zip(arrays, FLAT_COLUMNS, strict=True)]
            assert valid is None and not errors
            assert repr(list(zip(*lists, strict=True))) == repr(rows)


def test_well_formed_records_are_read_as_columns_however_they_are_spelled() -> None:
    columns = t.Schema.of([t.Column("V", t.DOUBLE), t.Column("N", t.BIGINT), t.Column("T", t.STRING)]).columns
    for record in (b'{"V":1.5,"N":2,"T":"x"}', b'{"v":1.5,"n":2,"t":"x","stranger":[1]}'):
        reader = RowReader(columns, unwrapped=False)
        reader([record])
        found = reader.columns([record] * 3)
        assert found is not None
        assert [a.to_pylist() for a in found[0]] == [[1.5] * 3, [2] * 3, ["x"] * 3]


SHAPED = t.Schema.of(
    [
        t.Column(n, type_)
        for n, type_ in (
            FLAT
            | {"F": t.BOOLEAN, "D": t.DATE, "absent": t.TIMESTAMP, "Ä": t.BIGINT, "a_long_name": t.BIGINT}
        ).items()
    ]
).columns
PLAIN = {
    "ID": b"1",
    "name": b'"a"',
    "X": b"1.5",
    "n": b"2",
    "F": b"true",
    "D": b"3",
    "ä": b"4",
    "other": b'"o"',
    "a_long_name": b"5",
}
ODD_TEXTS = [b"", b" 1", b"1 ", b'" "']
ODD_TEXTS += (
    b'"" "a" "\xc3\xa9.e1" "a\\n" "a\x01" "\xff" "}," "\\"" "a"b" "null" null "x true tru truey True false '
    b"0 -0 007 -07 +1 1. 1.e5 -1.E5 .5 0.5 0e1 0E+1 -0.0 -0e1 1e400 5e-324 nan inf 0x1F - -1 1- 1_0 1,2 0 00 "
    b"2147483648 9223372036854775808 123456789012345678901234567890"
).split(b" ")


def _assert_shape_reads_as_the_exact_way(records: list[bytes]) -> None:
    exact = RowReader(SHAPED, unwrapped=False)
    (*expected,) = (_exact_or_none(exact, text) for text in records)
    shapes = ShapeReader(SHAPED)
    assert shapes.read(records[-1:]) is not None
    found = shapes.read(records)
    if found is not None:
        rows, arrays = found
        lists = [t.from_arrow(a, c.type) for a, c in zip(arrays, SHAPED, strict=True)]
        assert repr(list(zip(*lists, strict=True))) == repr([expected[i] for i in rows.tolist()])


def _record(values: dict[str, bytes], *, colon: bytes = b":", comma: bytes = b",") -> bytes:
    return (
        b"{" + comma.join(b'"%s"%s%s' % (name.encode(), colon, text) for name, text in values.items()) + b"}"
    )


@pytest.mark.parametrize("name", PLAIN)
def test_odd_values_in_records_of_one_shape_are_read_as_the_exact_way_reads_them(name: str) -> None:
    for text in ODD_TEXTS:
        records = [_record(PLAIN), _record(PLAIN | {name: text}), _record(PLAIN)]
        _assert_shape_reads_as_the_exact_way(records)


@pytest.mark.parametrize(
    "change", [b'x"1.5" ', b'"X"= 1.5', b'"n":1.5 "X"', b'"x":1.5', b' "X":1.5', b'"Y":1.5']
)
def test_other_literals_in_records_of_one_shape_are_no_shape(change: bytes) -> None:
    plain = _record(PLAIN)
    swapped = plain.replace(b'"X":1.5', b'"n":2').replace(b'"n":2', b'"X":1.5', 1)
    tails = [plain[:-1] + end for end in (b"]", b" }", b"},", b"")]
    long = [plain.replace(b'_name":', other) for other in (b'_nama":', b'_name"=', b'_namE":', b'_nam":5')]
    others = [plain.replace(b'"X":1.5', change), swapped, *tails, *long, b"[" + plain[1:]]
    _assert_shape_reads_as_the_exact_way([*others, *[plain] * len(others)])


@given(
    st.permutations(list(PLAIN)),
    st.sampled_from([(b":", b","), (b": ", b" , ")]),
    st.lists(st.tuples(st.floats(), st.integers(-(2**31), 2**31 - 1), st.text()), min_size=1, max_size=9),
)
def test_records_of_one_shape_are_read_as_the_exact_way_reads_them(
    names: list[str], blanks: tuple[bytes, bytes], rows: list[tuple[float, int, str]]
) -> None:
    records = []
    for x, i, text in rows:
        values = {"X": json.dumps(x), "n": str(i), "name": json.dumps(text, ensure_ascii=False)}
        encoded = PLAIN | {name: v.encode("utf-8", "surrogatepass") for name, v in values.items()}
        records.append(_record({n: encoded[n] for n in names}, colon=blanks[0], comma=blanks[1]))
    plain = _record({n: PLAIN[n] for n in names}, colon=blanks[0], comma=blanks[1])
    _assert_shape_reads_as_the_exact_way([*records, plain])


def _exact_or_none(reader: RowReader, record: bytes) -> object:
    try:
        return reader.read_exactly(record)
    except ValueError:
        return None


def test_records_of_another_shape_stand_where_they_were() -> None:
    reader = RowReader(FLAT_COLUMNS, unwrapped=False)
    records = [b'{"id": %d, "name": "n%d", "x": 0.5, "n": 1, "more": true}' % (i, i) for i in range(9)]
    records[3] = b'{"n": 7, "id": 3}'
    records[5] = b'{"id": 5, "name": "a\\u00e4", "x": null, "n": 1, "more": true}'
    reader(records)  # learns how the others are spelled
    found = reader.columns(records)
    assert found is not None
    assert found[0][0].to_pylist() == list(range(9))
    assert found[0][1].to_pylist() == ["n0", "n1", "n2", None, "n4", "aä", "n6", "n7", "n8"]


def _rows(reader: RowReader, data: list[bytes]) -> tuple[list[object], list[bool]]:
    rows, errors = reader(data)
    bad = {i for i, _ in errors}
    return list(rows), [i in bad for i in range(len(data))]


TYPES: list[tuple[t.DataType, st.SearchStrategy[object]]] = [
    (t.BOOLEAN, st.booleans()),
    (t.INTEGER, st.integers(-(2**31), 2**31 - 1)),
    (t.BIGINT, st.integers(-(2**63), 2**63 - 1)),
    (t.DOUBLE, st.floats(allow_nan=False)),
    (t.Decimal(8, 3), st.decimals(-99999, 99999, places=3)),
    (t.STRING, st.text()),
    (t.BYTES, st.binary()),
    (t.TIME, st.integers(0, 86_400_000)),
    (t.Array(t.DOUBLE), st.lists(st.none() | st.floats(allow_nan=False))),
    (t.Map(t.STRING, t.BYTES), st.dictionaries(st.text(), st.none() | st.binary())),
    (
        t.Struct((("F", t.INTEGER), ("g", t.STRING))),
        st.tuples(st.none() | st.integers(-5, 5), st.none() | st.text()),
    ),
]


@given(st.lists(st.tuples(*[st.none() | s for _, s in TYPES]), max_size=5))
def test_what_is_written_is_read_back(rows: list[tuple[object, ...]]) -> None:
    codec = codec_of("JSON", {f"C{i}": type_ for i, (type_, _) in enumerate(TYPES)})
    assert codec.lossless
    assert read(codec, *write(codec, *rows)) == rows
