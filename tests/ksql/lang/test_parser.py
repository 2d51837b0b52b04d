"""Scripts, statements, literals, names and positions."""

from __future__ import annotations

import decimal

import pytest

from kalam_jupyter.engine.types import (
    BIGINT,
    BOOLEAN,
    BYTES,
    DOUBLE,
    INTEGER,
    STRING,
    Array,
    DataType,
    Decimal,
    Map,
    Struct,
)
from kalam_jupyter.ksql.lang import (
    ast,
    parse_expression,
    parse_schema,
    parse_script,
    parse_statement,
    parse_type,
    split_statements,
    statement_spans,
)
from kalam_jupyter.ksql.lang.ast import ColumnRef, Literal, Location, NamedType
from kalam_jupyter.ksql.lang.tokens import scan
from kalam_jupyter.ksql.lang.types import resolve_type


def query(text: str) -> ast.Query:
    statement = parse_statement(text)
    assert isinstance(statement, ast.Query)
    return statement


def test_a_script_is_any_number_of_statements() -> None:
    script = "-- one\nSHOW STREAMS ; /* two; */ list\ntables;;"
    first, second = parse_script(script)
    assert (first.text, first.location) == ("SHOW STREAMS ;", Location(2, 1))
    assert (second.text, second.location) == ("list\ntables;", Location(2, 27))
    assert [first.ast, second.ast] == [ast.Show("STREAMS"), ast.Show("TABLES")]
    assert parse_script(" -- nothing\n") == []


def test_the_last_semicolon_may_be_left_out_where_asked_for() -> None:
    (only,) = parse_script("SHOW STREAMS", terminated=False)
    assert only.text == "SHOW STREAMS"


def test_statements_are_split_without_being_parsed() -> None:
    script = "foo ';' bar;\n-- c;\n  `;` baz /* ; */ ; last"
    assert split_statements(script) == [("foo ';' bar;", 0), ("`;` baz /* ; */ ;", 2), ("last", 2)]
    assert [script[a:b] for a, b in statement_spans(script)] == [text for text, _ in split_statements(script)]


def test_directives_of_test_scripts_are_kept_aside() -> None:
    script = "--@test: one\n-- comment\nSHOW STREAMS;\n--@expected.error: x.Y\n"
    assert [(d.value, d.line) for d in scan(script) if d.kind == "directive"] == [
        ("test: one", 1),
        ("expected.error: x.Y", 4),
    ]
    assert len(parse_script(script)) == 1


@pytest.mark.parametrize(
    ("text", "value", "type_"),
    [
        ("0", 0, INTEGER),
        ("2147483647", 2147483647, INTEGER),
        ("2147483648", 2147483648, BIGINT),
        ("-2147483648", -2147483648, INTEGER),
        ("-2147483649", -2147483649, BIGINT),
        ("-9223372036854775808", -(1 << 63), BIGINT),
        ("1.5", decimal.Decimal("1.5"), Decimal(2, 1)),
        ("0.1", decimal.Decimal("0.1"), Decimal(2, 1)),
        (".05", decimal.Decimal("0.05"), Decimal(3, 2)),
        ("0.0", decimal.Decimal("0.0"), Decimal(2, 1)),
        ("12.", decimal.Decimal("12"), Decimal(2, 0)),
        ("-12.340", decimal.Decimal("-12.340"), Decimal(5, 3)),
        ("DECIMAL '1.23'", decimal.Decimal("1.23"), Decimal(3, 2)),
        ("1E3", 1000.0, DOUBLE),
        ("1.5e-2", 0.015, DOUBLE),
        ("1.7976931348623157E308", 1.7976931348623157e308, DOUBLE),
        ("'it''s'", "it's", STRING),
        (r"'a\n'", r"a\n", STRING),
        ("TRUE", True, BOOLEAN),
        ("false", False, BOOLEAN),
        ("null", None, None),
    ],
)
def test_literals_have_the_smallest_type_that_holds_them(
    text: str, value: object, type_: DataType | None
) -> None:
    literal = parse_expression(text)
    assert literal == Literal(value, type_)
    assert isinstance(literal, Literal)
    assert str(literal.value) == str(value)


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("int", INTEGER),
        ("INTEGER", INTEGER),
        ("varchar(10)", STRING),
        ("VARCHAR(STRING)", STRING),
        ("bytes", BYTES),
        ("DECIMAL(4,2)", Decimal(4, 2)),
        ("ARRAY<MAP<STRING, INT>>", Array(Map(STRING, INTEGER))),
        ("STRUCT<a INT, `b` STRUCT<c DOUBLE>>", Struct((("A", INTEGER), ("b", Struct((("C", DOUBLE),)))))),
        ("STRUCT<>", Struct(())),
        ("INT ARRAY", Array(INTEGER)),
        ("address", NamedType("ADDRESS")),
        ("`INT`", NamedType("INT")),
    ],
)
def test_types(text: str, type_: DataType) -> None:
    assert parse_type(text) == type_


def test_custom_types_are_resolved_at_any_depth() -> None:
    types = {"ZIP": STRING, "ADDRESS": Struct((("Z", NamedType("ZIP")),))}
    resolved = resolve_type(parse_type("MAP<STRING, ARRAY<address>>"), types.get)
    assert resolved == Map(STRING, Array(Struct((("Z", STRING),))))
    with pytest.raises(KeyError, match="TOWN"):
        resolve_type(parse_type("STRUCT<a town>"), types.get)


def test_schemas_are_parsed_without_parentheses() -> None:
    assert parse_schema("`K` STRING KEY, v INT") == (
        ast.TableElement("K", STRING, "KEY"),
        ast.TableElement("V", INTEGER),
    )


def test_names_fold_to_upper_case_unless_quoted() -> None:
    select = query('SELECT abc, `abc`, "aBc", 1r, a_1@b, s.`x` FROM s').select
    assert [c.expression for c in select if isinstance(c, ast.SingleColumn)] == [
        ColumnRef("ABC"),
        ColumnRef("abc"),
        ColumnRef("aBc"),
        ColumnRef("1R"),
        ColumnRef("A_1@B"),
        ColumnRef("x", "S"),
    ]


@pytest.mark.parametrize(
    "word", ["key", "date", "source", "emit", "partition", "session", "array", "id", "header"]
)
def test_words_with_a_meaning_are_names_where_a_name_is_expected(word: str) -> None:
    assert query(f"SELECT {word} FROM {word} {word} WHERE {word} = 1 GROUP BY {word} EMIT CHANGES") == query(
        f"SELECT `{word.upper()}` FROM `{word.upper()}` `{word.upper()}` WHERE `{word.upper()}` = 1 "
        f"GROUP BY `{word.upper()}` EMIT CHANGES"
    )


def test_topics_query_ids_variables_and_connectors_keep_their_case() -> None:
    assert parse_statement("PRINT myTopic") == ast.Print("myTopic")
    assert parse_statement("TERMINATE transient_a_1") == ast.Terminate("transient_a_1")
    assert parse_statement("DEFINE myVar = 'x'") == ast.Define("myVar", "x")
    assert parse_statement("DROP CONNECTOR c1") == ast.DropConnector("c1")
    assert parse_statement("ASSERT TOPIC t") == ast.AssertTopic("t")


def test_locations_are_those_of_the_script() -> None:
    script = "SHOW STREAMS;\nCREATE STREAM OUTPUT as SELECT I1.K, F0 FROM INPUT_1 i1;"
    create = parse_script(script)[1].ast
    assert isinstance(create, ast.CreateSourceAs)
    item = create.query.select[1]
    assert isinstance(item, ast.SingleColumn)
    assert item.expression.prefix == "Line: 2, Col: 38: "
    assert create.location == Location(2, 1)
    assert create.name_location == Location(2, 15)
    insert = parse_statement("INSERT INTO UNKNOWN SELECT * FROM s")
    assert insert.name_location == Location(1, 13)


def test_positions_do_not_matter_to_equality() -> None:
    assert parse_expression("a  +  1") == parse_expression("a+1")


def test_lambda_parameters_are_variables_in_their_body_only() -> None:
    tree = parse_expression("f(x, x => x + y, (x, y) => g(x, z => x + y + z))")
    assert isinstance(tree, ast.FunctionCall)
    assert tree.args[0] == ColumnRef("X")
    first, second = tree.args[1:]
    assert first == ast.Lambda(("X",), ast.Arithmetic("+", ast.LambdaVariable("X"), ColumnRef("Y")))
    assert not any(isinstance(n, ColumnRef) for n in ast.walk(second))


def test_an_interval_unit_is_one_only_as_an_argument_and_in_the_plural() -> None:
    assert parse_expression("dateadd(days, 1, d)") == ast.FunctionCall(
        "DATEADD", (ast.IntervalUnit("DAYS"), Literal(1, INTEGER), ColumnRef("D"))
    )
    assert parse_expression("max(day)") == ast.FunctionCall("MAX", (ColumnRef("DAY"),))


def test_durations_are_milliseconds() -> None:
    window = query(
        "SELECT COUNT(*) FROM s WINDOW TUMBLING (SIZE 2 MINUTES, GRACE PERIOD 1 DAY) GROUP BY a"
    ).window
    assert isinstance(window, ast.TumblingWindow)
    assert window.grace is not None
    assert (window.size.ms, window.grace.ms) == (120_000, 86_400_000)


def test_a_query_knows_its_sources_from_left_to_right() -> None:
    joined = query("SELECT * FROM a JOIN b x ON a.i = x.i JOIN c ON a.i = c.i")
    assert [s.label for s in joined.sources] == ["A", "X", "C"]


def test_rewriting_replaces_expressions_and_keeps_the_rest() -> None:
    tree = query("SELECT a + 1, f(a) FROM s WHERE a = 2 GROUP BY b")

    def change(e: ast.Expression) -> ast.Expression | None:
        return ColumnRef("Z", "S") if e == ColumnRef("A") else None

    assert ast.rewrite(tree, change) == query("SELECT s.z + 1, f(s.z) FROM s WHERE s.z = 2 GROUP BY b")
    assert ast.rewrite(tree, lambda e: None) is tree


def test_deep_statements_are_handled_without_reaching_the_recursion_limit() -> None:
    nested = parse_expression("f(a, " * 60 + "1" + ")" * 60)
    sums = parse_expression("a" + " + 1" * 115)
    parentheses = parse_expression("(" * 115 + "a" + " * 1)" * 115)
    alternatives = parse_expression(" OR ".join(f"a = {i} AND b" for i in range(2000)))
    nots = parse_expression("NOT " * 110 + "a")
    for tree in (nested, sums, parentheses, alternatives, nots):
        assert parse_expression(str(tree)) == tree
        assert hash(parse_expression(str(tree))) == hash(tree)
        assert len(list(ast.walk(tree))) > 110
        assert ast.rewrite(tree, lambda e: ColumnRef("B") if e == ColumnRef("A") else None) != tree


def test_source_names_may_hold_a_hyphen() -> None:
    assert query("SELECT * FROM `my-stream`").sources[0].name == "my-stream"


def test_source_objects_cannot_be_made_by_a_query() -> None:
    (statement,) = parse_script("CREATE SOURCE STREAM s (a INT KEY) WITH (kafka_topic='t');")
    assert isinstance(statement.ast, ast.CreateSource)
    assert statement.ast.read_only


def test_insert_without_columns_has_none() -> None:
    assert parse_statement("INSERT INTO s VALUES ()") == ast.InsertValues("S", (), ())
