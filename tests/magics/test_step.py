from __future__ import annotations

import pytest

from kalam_jupyter.magics.errors import SqlError, UsageError
from kalam_jupyter.widgets import Stepper

from .test_magics import ORDERS, message_of

COUNTS = "%%ksql --step --records rows\nSELECT item, COUNT(*) AS n FROM orders GROUP BY item EMIT CHANGES;"


def test_a_query_is_stepped_through_with_records(run, shell):
    run(ORDERS)
    shell.user_ns["rows"] = [{"id": 7, "item": "tea"}, {"id": 8, "item": "tea"}]
    stepper = run(COUNTS).value
    assert isinstance(stepper, Stepper) and (stepper.position, len(stepper.steps)) == (0, 2)
    assert stepper.step().outputs[0].value["N"] == 1
    assert run("%ksql SELECT * FROM revenue WHERE item = 'tea';").value.N.tolist() == [2]


def test_a_stepper_is_assigned(run, shell):
    run(ORDERS)
    assert run("%%ksql --step\nx << SELECT * FROM orders EMIT CHANGES;").value is shell.user_ns["x"]


def test_records_that_do_not_fit_are_told(run, shell):
    run(ORDERS)
    shell.user_ns["rows"] = [{"id": "seven"}]
    with pytest.raises(SqlError, match="ID is INTEGER, and 'seven' is not"):
        run(COUNTS)
    with pytest.raises(UsageError, match="--records nothing: name 'nothing' is not defined"):
        run(COUNTS.replace("rows", "nothing"))
    with pytest.raises(UsageError, match="--records 7: "):
        run(COUNTS.replace("rows", "7"))


def test_an_error_of_the_statement_points_into_the_cell(run):
    run(ORDERS)
    with pytest.raises(SqlError) as caught:
        run("%%ksql --step\n-- counts\nSELECT * FROM ordrs EMIT CHANGES;")
    assert (caught.value.line, caught.value.token) == (3, "ordrs")
    assert "ORDERS" in message_of(caught.value)


def test_what_is_no_query_cannot_be_stepped_through(run):
    with pytest.raises(SqlError, match="Only a query can be stepped through"):
        run("%%ksql --step\nLIST STREAMS;")
