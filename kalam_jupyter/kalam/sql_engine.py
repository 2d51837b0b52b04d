"""The query engine (Apache DataFusion): how it is called, and what becomes of its errors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kalam_jupyter.kalam.errors import StatementError, classify
from kalam_jupyter.kalam.nesting import check_nesting
from kalam_jupyter.kalam.sizes import check_sizes

if TYPE_CHECKING:
    from datafusion import DataFrame, SessionContext


def run_sql(context: SessionContext, text: str, values: dict[str, Any]) -> DataFrame:
    """Plan a query: nothing but a query, no DDL, no DML, no settings.

    Parameters
    ----------
    values : dict
        Value of ``$n`` under ``"n"``.
    """
    from datafusion import SQLOptions

    check_nesting(text)
    check_sizes(text, values)
    options = SQLOptions().with_allow_ddl(False).with_allow_dml(False).with_allow_statements(False)
    if values:
        bound = {name: _bound(value) for name, value in values.items()}
        return context.sql_with_options(text, options, param_values=bound)
    return context.sql_with_options(text, options)


def _bound(value: Any) -> Any:
    """Return a parameter as the engine takes it: a number that is no BIGINT is a DOUBLE."""
    return float(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 else value


def as_table(batches: Sequence[pa.RecordBatch], frame: DataFrame) -> pa.Table:
    """Return the batches of a frame as one table: those of a recursive query may differ in their names."""
    schema = batches[0].schema if batches else frame.schema()
    alike = [b if b.schema.equals(schema) else pa.record_batch(b.columns, schema=schema) for b in batches]
    return pa.Table.from_batches(alike, schema=schema)


@contextlib.contextmanager
def engine_errors(translate: Callable[[str], StatementError] = classify) -> Iterator[None]:
    """Turn whatever the query engine raises into a `StatementError`.

    It raises bare `Exception` and `ValueError`, and for some malformed queries a panic, which is no
    `Exception`.
    """
    try:
        yield
    except (StatementError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise translate(str(error)) from None
