"""Columnar kernels give what the row form gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalam_jupyter.engine import types as t
from tests.ksql.functions.evaluate import REGISTRY

VALUES: dict[t.DataType, st.SearchStrategy[Any]] = {
    t.INTEGER: st.integers(-(2**31), 2**31 - 1),
    t.BIGINT: st.integers(-(2**63), 2**63 - 1),
    t.DOUBLE: st.floats(),
}
KERNELS = [
    (overload.signature.name, overload.signature.parameters[0].type)
    for function in REGISTRY.functions()
    for overload in function.overloads
    if getattr(overload, "columnar", None) is not None
]


@pytest.mark.parametrize(("name", "type_"), KERNELS, ids=[f"{n} {x}" for n, x in KERNELS])
@given(data=st.data())
def test_a_kernel_agrees_with_its_function(name: str, type_: t.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[type_], max_size=20))
    call = REGISTRY.scalar(name, [type_])
    assert call.columnar is not None
    assert call.type is not None
    column = t.from_arrow(call.columnar(t.to_arrow(values, type_)), call.type)
    rows = [None if v is None else call.function(v) for v in values]
    assert list(map(repr, column)) == list(map(repr, rows))
