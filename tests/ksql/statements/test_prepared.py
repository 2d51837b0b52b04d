"""Plans of pull queries are kept; what they answer is what a new plan would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import Engine
from kalam_jupyter.ksql import Ksql, KsqlError

SETUP = """
CREATE STREAM S (K INT KEY, V STRING) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
CREATE TABLE T AS SELECT K, COUNT(*) AS N FROM S GROUP BY K;
CREATE TABLE TV AS SELECT V, COUNT(*) AS N FROM S GROUP BY V;
CREATE TABLE T2 WITH (KEY_FORMAT='JSON') AS SELECT K, V, COUNT(*) AS N FROM S GROUP BY K, V;
CREATE TABLE W AS SELECT K, COUNT(*) AS N FROM S WINDOW TUMBLING (SIZE 1 HOURS) GROUP BY K;
"""
TEXTS = ("a", "it's", "--", "5", "", "ü")


@pytest.fixture(scope="module")
def ksql():
    with Engine.open() as engine:
        engine.start()
        ksql = Ksql(engine)
        ksql.execute(SETUP)
        ksql.insert_target("S").insert(
            [{"K": k, "V": v} for k in range(4) for i, v in enumerate(TEXTS) for _ in range(k + i)]
        )
        yield ksql


def rows(query):
    return [r.values for r in query.poll()]


LITERALS = st.one_of(
    st.integers(0, 5).map(str), st.sampled_from(TEXTS).map(lambda v: "'" + v.replace("'", "''") + "'")
)
FORMS = st.sampled_from(
    [
        "SELECT * FROM T WHERE K = {a};",
        "SELECT N FROM T WHERE {a} = K;",
        "SELECT N, K FROM T WHERE K = {a} LIMIT 1;",
        "SELECT N FROM TV WHERE V = {a};",
        "SELECT * FROM T2 WHERE K = {a} AND V = {b};",
        "SELECT * FROM T2 WHERE V = {a} AND K = {b};",
        "SELECT N FROM T WHERE K = {a} AND N > {b};",
        "SELECT N + 1 AS M FROM T WHERE K = {a} -- not {b}\n;",
        "SELECT N AS `it's 5` FROM T WHERE K = {a};",
        "SELECT * FROM T WHERE K IN ({a}, {b});",
        "SELECT * FROM W WHERE K = {a};",
        "SELECT K FROM T WHERE K = -{a};",
    ]
)


def answer(ask):
    try:
        return rows(ask())
    except KsqlError as error:
        return error.message


@given(FORMS, st.lists(st.tuples(LITERALS, LITERALS), min_size=2, max_size=4))
def test_a_kept_plan_answers_as_a_new_one(ksql, form, literals):
    texts = [form.format(a=a, b=b) for a, b in literals]
    expected = []
    for text in texts:
        ksql._prepared._plans.clear()
        expected.append(answer(lambda text=text: ksql.query(text)))
    ksql._prepared._plans.clear()
    assert [answer(lambda text=text: ksql.query(text)) for text in texts * 2] == expected * 2


def test_a_plan_for_one_key_serves_the_others(ksql):
    ksql.query("SELECT N FROM T WHERE K = 1;")
    assert rows(ksql.quick_pull("SELECT N FROM T WHERE K = 2;")) == rows(
        ksql.query("SELECT N FROM T WHERE K = 2;")
    )
    assert ksql.quick_pull("SELECT N, K FROM T WHERE K = 2;") is None


def test_a_command_makes_plans_anew(ksql):
    text = "SELECT * FROM T WHERE K = 1;"
    ksql.query(text)
    ksql.execute("CREATE TYPE ANY_COMMAND AS STRUCT<A INT>; DROP TYPE ANY_COMMAND;")
    assert ksql.quick_pull(text) is None
    ksql.query(text)
    assert ksql.quick_pull(text) is not None


def test_a_query_whose_table_is_gone_fails_as_before(ksql):
    ksql.execute("CREATE TABLE GONE AS SELECT K, COUNT(*) AS N FROM S GROUP BY K;")
    text = "SELECT * FROM GONE WHERE K = 1;"
    assert ksql.query(text).poll() is not None
    ksql.execute("DROP TABLE GONE;")
    with pytest.raises(KsqlError, match="GONE does not exist"):
        ksql.query(text)


def test_properties_are_part_of_the_question(ksql):
    text = "SELECT * FROM T WHERE N > 0;"
    ksql.query(text)
    with pytest.raises(KsqlError, match="missing key column"):
        ksql.query(text, properties={"ksql.query.pull.table.scan.enabled": "false"})


def test_rows_that_arrived_since_are_seen(ksql):
    text = "SELECT N FROM TV WHERE V = 'new';"
    assert rows(ksql.query(text)) == []
    for n in (1, 2):
        ksql.insert_target("S").insert([{"K": 9, "V": "new"}])
        assert rows(ksql.query(text)) == [(n,)]
