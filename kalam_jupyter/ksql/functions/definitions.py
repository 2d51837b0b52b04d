"""What functions are made of: overloads as libraries define them, calls and aggregations as queries use them.

Vocabulary
----------
overload
    One signature with its implementation.
call
    A resolved scalar or table function: which Python function to call, with which conversions of its
    arguments.
aggregation
    A resolved aggregate: initial state, add, undo, merge, result.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kalam_jupyter.engine import types as t
from kalam_jupyter.ksql.errors import KsqlError
from kalam_jupyter.ksql.functions.signature import Signature
from kalam_jupyter.ksql.values.convert import Convert, identity

Kind = Literal["SCALAR", "AGGREGATE", "TABLE"]


class EvaluationContext:
    """Where functions that are not functions of their arguments draw from, so that a replay is exact.

    The query sets it before each batch; a checkpoint must keep `sequence`.

    Attributes
    ----------
    random : random.Random
        Source of RANDOM() and UUID().
    now_ms : int
        Processing time, milliseconds since the epoch.
    sequence : int
        How many sequence numbers were given out: the order in which EARLIEST and LATEST_BY_OFFSET saw values.
    """

    __slots__ = ("_random", "_seed", "now_ms", "sequence")

    def __init__(self, seed: int = 0, now_ms: int = 0, sequence: int = 0) -> None:
        self.begin(now_ms, seed)
        self.sequence = sequence

    def begin(self, now_ms: int, seed: int) -> None:
        """Begin a batch: set its processing time and start `random` anew."""
        self.now_ms = now_ms
        self._seed = seed
        self._random: random.Random | None = None

    @property
    def random(self) -> random.Random:
        """Made when first asked for: seeding costs more than a small batch."""
        if self._random is None:
            self._random = random.Random(self._seed)
        return self._random

    def next_sequence(self) -> int:
        """Return a number larger than all before."""
        self.sequence += 1
        return self.sequence


@dataclass(frozen=True)
class Binding:
    """What an implementation that depends on types gets: argument types after widening, and the result
    type.
    """

    types: tuple[t.DataType | None, ...]
    result: t.DataType | None
    lambdas: tuple[tuple[t.DataType, ...] | None, ...] = ()


@dataclass(frozen=True)
class Overload:
    """A scalar or table function's signature and implementation.

    Attributes
    ----------
    function : callable
        Takes values; with `specialize` takes a `Binding` and returns that callable.
    returns : callable or None
        Result type from the argument types, where the signature has none.
    nulls : bool
        It takes NULLs; otherwise a NULL argument gives NULL without a call.
    context : bool
        Its first argument is the `EvaluationContext`.
    columnar : callable or None
        The same over Arrow arrays; NULL in, NULL out, failures as NULL.
    """

    signature: Signature
    function: Callable[..., Any]
    returns: Callable[[tuple[t.DataType | None, ...]], t.DataType | None] | None = None
    nulls: bool = False
    context: bool = False
    specialize: bool = False
    columnar: Callable[..., Any] | None = None
    description: str = ""


@dataclass(frozen=True)
class AggregateOverload:
    """An aggregate's signature and the factory of its `Aggregation` parts."""

    signature: Signature
    factory: Callable[[AggregateCall], AggregateParts]
    returns: Callable[[tuple[t.DataType | None, ...]], t.DataType | None] | None = None
    description: str = ""


@dataclass(frozen=True)
class AggregateCall:
    """What an aggregate's factory gets.

    Attributes
    ----------
    types : tuple
        Types of the column arguments, after widening.
    literals : tuple
        Values of the constant arguments.
    result : DataType
    config : mapping
        Properties under ``ksql.functions.<name>.``, lower case.
    context : EvaluationContext
    """

    types: tuple[t.DataType | None, ...]
    literals: tuple[Any, ...]
    result: t.DataType | None
    config: Mapping[str, Any]
    context: EvaluationContext


def unsupported_merge(a: Any, b: Any) -> Any:
    """The merge of aggregates that have none."""
    raise KsqlError("This aggregate function cannot be used with SESSION windows")


@dataclass(frozen=True)
class AggregateParts:
    """An aggregate as functions of its state.

    `add` and `undo` may change the state they get and return it; `merge` (older session first) may reuse
    both. States are plain data: None, numbers, text, bytes, Decimal, lists, dicts. `result` never hands out
    a part of the state
    that changes later.
    """

    initial: Callable[[], Any]
    add: Callable[..., Any]
    merge: Callable[[Any, Any], Any] = unsupported_merge
    undo: Callable[..., Any] | None = None
    result: Callable[[Any], Any] = identity
    state_type: t.DataType | None = None


@dataclass(frozen=True)
class Call:
    """A resolved scalar or table function.

    Attributes
    ----------
    name : str
        As declared.
    function : callable
        Of the argument values, converted; a table function returns a list of values. It may raise.
    conversions : tuple of callable
        One for each argument (`identity`: none needed); applied to values that are not NULL.
    types : tuple
        What the arguments are converted to; None for an untyped NULL, a lambda, an interval unit.
    type : DataType or None
        Of the result; of one row's value for a table function.
    null_on_null : bool
        The result is NULL, without a call, when an argument is.
    lambdas : tuple
        Parameter types of each lambda argument; None at other positions.
    columnar : callable or None
    deterministic : bool
        False for functions that draw from the `EvaluationContext`.
    """

    name: str
    function: Callable[..., Any]
    conversions: tuple[Convert, ...]
    types: tuple[t.DataType | None, ...]
    type: t.DataType | None
    null_on_null: bool
    lambdas: tuple[tuple[t.DataType, ...] | None, ...] = ()
    columnar: Callable[..., Any] | None = None
    deterministic: bool = True


@dataclass(frozen=True)
class Aggregation:
    """A resolved aggregate function.

    Attributes
    ----------
    columns : tuple of int
        Which arguments are evaluated for each record, in order; the others were constants.
    conversions : tuple of callable
        One for each column argument; applied to values that are not NULL.
    types : tuple
        Of the column arguments, after conversion.
    type : DataType or None
        Of the result.
    state_type : DataType or None
        Of the intermediate state, which the value format must be able to hold.
    initial, add, undo, merge, result : callable
        See `AggregateParts`; `undo` is None where table sources are not supported.
    """

    name: str
    columns: tuple[int, ...]
    conversions: tuple[Convert, ...]
    types: tuple[t.DataType | None, ...]
    type: t.DataType | None
    state_type: t.DataType | None
    initial: Callable[[], Any]
    add: Callable[..., Any]
    undo: Callable[..., Any] | None
    merge: Callable[[Any, Any], Any]
    result: Callable[[Any], Any]
