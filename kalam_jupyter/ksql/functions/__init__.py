"""ksqlDB's function library: scalar, aggregate and table functions, built in and written by users.

`registry.FunctionRegistry` finds a function by name and resolves its overloads; the modules beside it hold
the built-ins, one small function each, registered with its signatures.
"""

from kalam_jupyter.ksql.functions.definitions import EvaluationContext
from kalam_jupyter.ksql.functions.registry import FunctionRegistry
from kalam_jupyter.ksql.functions.resolve import LambdaArgument
from kalam_jupyter.ksql.functions.signature import INTERVAL

__all__ = ["INTERVAL", "EvaluationContext", "FunctionRegistry", "LambdaArgument"]
