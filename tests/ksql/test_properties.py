"""Properties: SET, UNSET, SHOW PROPERTIES, overrides of requests, ALTER SYSTEM, and that each acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kalam_jupyter
from kalam_jupyter.engine import Clock, Engine
from kalam_jupyter.ksql import Ksql, KsqlError
from kalam_jupyter.ksql.functions.python import forget
from kalam_jupyter.ksql.properties import PROPERTIES
from kalam_jupyter.ksql.property_docs import render

STREAM = "CREATE STREAM s (id INT KEY, v INT) WITH (KAFKA_TOPIC='s', FORMAT='JSON', PARTITIONS=1);"
TABLE = "CREATE TABLE t AS SELECT id, COUNT(*) AS n FROM s GROUP BY id;"
Opened = Callable[..., Ksql]


@contextmanager
def opened(config: Mapping[str, Any] = {}, clock: Clock | None = None) -> Iterator[Ksql]:
    with Engine.open(clock=clock or Clock()) as engine:
        ksql = Ksql(engine, config)
        engine.start()
        ksql.execute(STREAM)
        yield ksql


@pytest.fixture
def ksql() -> Iterator[Ksql]:
    with opened() as ksql:
        yield ksql


def shown(ksql: Ksql, **properties: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    (entity,) = ksql.execute("SHOW PROPERTIES;", properties=properties)
    return {p["name"]: p for p in entity["properties"]}, entity


def refused(ksql: Ksql, text: str, **properties: Any) -> KsqlError:
    with pytest.raises(KsqlError) as error:
        ksql.execute(text, properties=properties)
    return error.value


def test_the_documentation_lists_the_table() -> None:
    path = Path(__file__).parents[2] / "docs" / "ksql-properties.md"
    assert path.read_text(encoding="utf-8") == render()


class TestShow:
    def test_what_has_a_default_is_listed_with_it(self, ksql: Ksql) -> None:
        listed, entity = shown(ksql)
        assert set(listed) == {name for name, p in PROPERTIES.items() if p.listed}
        assert listed["ksql.service.id"] == {
            "name": "ksql.service.id",
            "scope": "KSQL",
            "value": "default_",
            "editable": False,
            "level": "SERVER",
        }
        assert listed["ksql.persistence.default.format.value"]["value"] is None
        assert listed["ksql.query.pull.table.scan.enabled"]["level"] == "QUERY"
        assert set(entity["defaultProperties"]) == set(listed)
        assert entity["overwrittenProperties"] == []

    def test_what_a_session_sets_is_overwritten(self, ksql: Ksql) -> None:
        listed, entity = shown(ksql, **{"auto.offset.reset": "earliest"})
        assert listed["ksql.streams.auto.offset.reset"]["value"] == "earliest"
        assert listed["ksql.streams.auto.offset.reset"]["level"] == "SERVER"
        assert entity["overwrittenProperties"] == ["ksql.streams.auto.offset.reset"]
        assert "ksql.streams.auto.offset.reset" not in entity["defaultProperties"]

    def test_what_the_server_sets_is_no_default(self) -> None:
        with opened({"ksql.output.topic.name.prefix": "x_"}) as ksql:
            listed, entity = shown(ksql)
            assert listed["ksql.output.topic.name.prefix"]["value"] == "x_"
            assert "ksql.output.topic.name.prefix" not in entity["defaultProperties"]

    def test_secrets_are_hidden_and_formats_of_keys_are_not(self) -> None:
        with opened({"ksql.schema.registry.basic.auth.user.info": "me:secret"}) as ksql:
            listed, _ = shown(ksql)
            assert listed["ksql.schema.registry.basic.auth.user.info"]["value"] == "[hidden]"
            assert listed["ksql.persistence.default.format.key"]["value"] == "KAFKA"

    def test_flags_are_written_as_java_writes_them(self) -> None:
        with opened({"ksql.suppress.enabled": True}) as ksql:
            listed, entity = shown(ksql)
            assert listed["ksql.suppress.enabled"]["value"] == "true"
            assert "ksql.suppress.enabled" in entity["defaultProperties"]


class TestOverrides:
    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("auto.offset.reset", "middle", "String must be one of: latest, earliest, none"),
            ("ksql.lambdas.enabled", "perhaps", "Expected value to be either true or false"),
            ("ksql.query.error.max.queue.size", "ten", "Not a number of type INT"),
            ("ksql.query.error.max.queue.size", "3000000000", "Not a number of type INT"),
            ("ksql.query.retry.backoff.max.ms", "1.5", "Not a number of type LONG"),
        ],
    )
    def test_a_value_that_cannot_be_is_refused(self, ksql: Ksql, name: str, value: str, message: str) -> None:
        error = refused(ksql, f"SET '{name}'='{value}';")
        assert (error.error_code, error.message) == (
            40001,
            f"Invalid value {value} for configuration {name}: {message}",
        )
        error = refused(ksql, "LIST STREAMS;", **{name: value})
        assert error.error_code == 40000
        assert error.message.startswith(f"Failed to coerce type of value '{value}' for key '{name}'")

    def test_values_of_any_json_kind_are_taken(self, ksql: Ksql) -> None:
        properties = {"ksql.lambdas.enabled": True, "ksql.query.error.max.queue.size": 3}
        assert ksql.execute("LIST STREAMS;", properties=properties)

    def test_an_unknown_one_is_refused(self, ksql: Ksql) -> None:
        error = refused(ksql, "LIST STREAMS;", **{"ksql.nothing": "x"})
        assert (error.error_code, error.message) == (
            40000,
            "Not recognizable as ksql, streams, consumer, or producer property: 'ksql.nothing'",
        )
        with pytest.raises(KsqlError, match="Not recognizable"):
            ksql.query("SELECT * FROM s;", properties={"ksql.nothing": "x"})

    def test_a_denied_one_is_refused(self) -> None:
        with opened(
            {"ksql.properties.overrides.denylist": "ksql.lambdas.enabled, auto.offset.reset"}
        ) as ksql:
            for name in ("ksql.lambdas.enabled", "ksql.streams.auto.offset.reset", "ksql.service.id"):
                for error in (
                    refused(ksql, "LIST STREAMS;", **{name: "true"}),
                    refused(ksql, f"SET '{name}'='true';"),
                ):
                    assert error.message.startswith("One or more properties overrides set locally are")
                    assert error.message.endswith(
                        f"denylist (use UNSET to reset their default value): [{name}]"
                    )
            assert ksql.execute("SET 'ksql.suppress.enabled'='false';") == []

    def test_only_what_is_allowed_is_taken(self) -> None:
        config = {
            "ksql.properties.overrides.validation.mode": "allowlist",
            "ksql.properties.overrides.allowlist": "auto.offset.reset",
        }
        with opened(config) as ksql:
            assert ksql.execute("SET 'auto.offset.reset'='earliest';") == []
            assert "allowlist" in refused(ksql, "SET 'ksql.lambdas.enabled'='true';").message

    def test_a_session_does_not_widen_what_limits_the_server(self) -> None:
        with opened({"ksql.query.persistent.active.limit": 0}) as ksql:
            error = refused(ksql, TABLE, **{"ksql.query.persistent.active.limit": 5})
            assert (error.error_code, "Configured limit: 0" in error.message) == (40000, True)

    def test_a_server_s_own_value_must_be_one(self) -> None:
        with Engine.open() as engine:
            for name, value in (("ksql.suppress.enabled", "x"), ("ksql.hidden.topics", "(")):
                with pytest.raises(KsqlError, match=f"for configuration {name}"):
                    Ksql(engine, {name: value})


class TestAlterSystem:
    def test_it_needs_shared_runtimes(self, ksql: Ksql) -> None:
        assert (
            "needs shared query runtimes"
            in refused(ksql, "ALTER SYSTEM 'auto.offset.reset'='earliest';").message
        )

    def test_it_sets_a_property_for_all_sessions_and_for_good(self, tmp_path: Path) -> None:
        config = {"ksql.runtime.feature.shared.enabled": "true"}
        with Engine.open(tmp_path) as engine:
            ksql = Ksql(engine, config)
            (made,) = ksql.execute("ALTER SYSTEM 'ksql.lambdas.enabled'='false';")
            assert (
                made["commandStatus"]["message"] == "System property ksql.lambdas.enabled was set to false."
            )
            assert made["commandId"].startswith("cluster/") and made["commandId"].endswith("/alter")
        with Engine.open(tmp_path) as engine:
            ksql = Ksql(engine, config)
            listed, entity = shown(ksql)
            assert listed["ksql.lambdas.enabled"]["value"] == "false"
            assert "ksql.lambdas.enabled" not in entity["defaultProperties"]

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("ksql.nothing", "x", "Unknown property: ksql.nothing"),
            ("ksql.lambdas.enabled", "x", "Invalid value x"),
            ("ksql.max.push.queries", "1", "belongs to the server"),
        ],
    )
    def test_a_mistake_changes_nothing(self, name: str, value: str, message: str) -> None:
        with opened({"ksql.runtime.feature.shared.enabled": "true"}) as ksql:
            assert message in refused(ksql, f"ALTER SYSTEM '{name}'='{value}';").message
            assert ksql.engine.catalogue.names("ksql.system") == []


class TestActs:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("ksql.create.or.replace.enabled", STREAM.replace("CREATE", "CREATE OR REPLACE")),
            (
                "ksql.lambdas.enabled",
                "CREATE STREAM x AS SELECT id, TRANSFORM(ARRAY[v], e => e) AS a FROM s;",
            ),
            (
                "ksql.suppress.enabled",
                "CREATE TABLE x AS SELECT id, COUNT(*) FROM s WINDOW TUMBLING (SIZE 1 DAY) GROUP BY id "
                "EMIT FINAL;",
            ),
            (
                "ksql.headers.columns.enabled",
                "CREATE STREAM x (h BYTES HEADER('a')) WITH (KAFKA_TOPIC='s', FORMAT='JSON');",
            ),
        ],
    )
    def test_features_can_be_switched_off(self, ksql: Ksql, name: str, text: str) -> None:
        error = refused(ksql, text, **{name: "false"})
        assert "currently disabled" in error.message and f"{name} to true" in error.message
        assert ksql.execute(text)

    def test_topics_are_hidden_and_read_only_by_name(self) -> None:
        with opened({"ksql.hidden.topics": "s,x.*", "ksql.readonly.topics": "s"}) as ksql:
            assert "s" not in [t["name"] for t in ksql.execute("LIST TOPICS;")[0]["topics"]]
            assert "s" in [t["name"] for t in ksql.execute("LIST ALL TOPICS;")[0]["topics"]]
            for text in (
                "INSERT INTO s (id, v) VALUES (1, 1);",
                "INSERT INTO s SELECT * FROM s;",
                "CREATE STREAM x WITH (KAFKA_TOPIC='s') AS SELECT * FROM s;",
            ):
                assert refused(ksql, text).message.split("\n")[0].endswith("read-only topic: s")

    def test_a_bad_record_stops_a_query_that_asks_for_it(self, ksql: Ksql) -> None:
        ksql.execute("CREATE STREAM raw (v STRING) WITH (KAFKA_TOPIC='s', FORMAT='KAFKA');")
        ksql.execute(
            "CREATE STREAM strict AS SELECT * FROM s;",
            properties={"ksql.fail.on.deserialization.error": "true"},
        )
        ksql.execute("CREATE STREAM lenient AS SELECT * FROM s;")
        ksql.execute("INSERT INTO raw (v) VALUES ('no json');")
        ksql.engine.settle()
        assert [ksql.query_state(q) for q in ("CSAS_STRICT_2", "CSAS_LENIENT_3")] == ["ERROR", "RUNNING"]

    @pytest.mark.parametrize(
        ("name", "expression", "by_default", "switched_off"),
        [
            ("ksql.cast.strings.preserve.nulls", "CAST(v AS STRING)", None, "null"),
            ("ksql.cast.strings.preserve.nulls", "CAST(CAST('x' AS INT) AS STRING)", None, "null"),
            ("ksql.cast.strings.preserve.nulls", "ARRAY[CAST(NULL AS STRING)]", [None], ["null"]),
            ("ksql.nested.error.set.null", "ARRAY[v + 1, 1]", [None, 1], None),
            ("ksql.nested.error.set.null", "MAP('a' := CAST('x' AS INT))", {"a": None}, None),
            ("ksql.nested.error.set.null", "COALESCE(CAST('x' AS INT), 0)", 0, None),
            ("ksql.nested.error.set.null", "STRUCT(a := v + 1, b := 1)->b", 1, None),
        ],
    )
    def test_of_nulls_within_expressions(
        self, ksql: Ksql, name: str, expression: str, by_default: Any, switched_off: Any
    ) -> None:
        ksql.execute("INSERT INTO s (id, v) VALUES (1, NULL);")
        for value, expected in (("true", by_default), ("false", switched_off)):
            query = ksql.query(f"SELECT {expression} AS x FROM s;", properties={name: value})
            assert query.table().column("X").to_pylist() == [
                list(expected.items()) if isinstance(expected, dict) else expected
            ]

    def test_users_functions_can_be_switched_off(self) -> None:
        @kalam_jupyter.udf("only_here(x INT) -> INT")
        def only_here(x: int) -> int:
            return x

        try:
            with opened({"ksql.udfs.enabled": "false"}) as ksql:
                assert "Can't find any functions" in refused(ksql, "DESCRIBE FUNCTION only_here;").message
            with opened() as ksql:
                assert ksql.execute("DESCRIBE FUNCTION only_here;")
        finally:
            forget(["only_here"])


class TestPullLimits:
    def test_a_rate(self) -> None:
        clock = Clock(1_700_000_000_000)
        with opened({"ksql.query.pull.max.qps": 2}, clock) as ksql:
            ksql.execute(TABLE)
            for _ in range(2):
                ksql.query("SELECT * FROM t;")
            with pytest.raises(KsqlError) as refused:
                ksql.query("SELECT * FROM t;")
            assert (refused.value.error_code, refused.value.http_status) == (42900, 429)
            assert refused.value.message == "Host is at rate limit for pull queries. Currently set to 2 qps."
            assert ksql.query("SELECT * FROM t EMIT CHANGES;").kind == "push"
            clock.advance(500)
            ksql.query("SELECT * FROM t;")
            with pytest.raises(KsqlError):
                ksql.query("SELECT * FROM s;")

    def test_a_number_at_a_time(self) -> None:
        with opened({"ksql.query.pull.max.concurrent.requests": 1}) as ksql:
            ksql.execute("INSERT INTO s (id, v) VALUES (1, 1);")
            first = ksql.query("SELECT * FROM s;")
            with pytest.raises(KsqlError, match="maximum 1 concurrent requests"):
                ksql.query("SELECT * FROM s;")
            first.close()
            assert ksql.query("SELECT * FROM s;").table().num_rows == 1

    def test_what_is_read_in_an_hour(self) -> None:
        clock = Clock(1_700_000_000_000)
        config = {"ksql.query.pull.max.hourly.bandwidth.megabytes": 1}
        with opened(config, clock) as ksql:
            ksql.execute("CREATE STREAM big (v STRING) WITH (KAFKA_TOPIC='b', FORMAT='JSON', PARTITIONS=1);")
            ksql.execute(f"INSERT INTO big (v) VALUES ('{'x' * 600_000}');")
            for _ in range(2):
                assert ksql.query("SELECT * FROM big;").table().num_rows == 1
            with pytest.raises(KsqlError, match="bandwidth rate limit"):
                ksql.query("SELECT * FROM big;")
            clock.advance(3_600_000)
            assert ksql.query("SELECT * FROM big;").table().num_rows == 1
