"""The ksqlDB dialect: `Ksql` executes its SQL on an engine."""

from kalam_jupyter.ksql.dialect import Ksql
from kalam_jupyter.ksql.errors import KsqlError, ParseError, StatementError
from kalam_jupyter.ksql.runtime.transient import ResultColumn, ResultRow, TransientQuery

__all__ = ["Ksql", "KsqlError", "ParseError", "ResultColumn", "ResultRow", "StatementError", "TransientQuery"]
