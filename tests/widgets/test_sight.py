from __future__ import annotations

from itertools import permutations

import pytest

from kalam_jupyter.widgets.sight import Sight


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("order", list(permutations([1, 2, 3])))
def test_what_a_page_said_last_counts_in_whatever_order_it_comes(order: tuple[int, ...], last: bool):
    sight = Sight()
    for turn in order:
        sight.tell("page", turn, last if turn % 2 else not last)
    assert sight.seen is last


def test_a_page_that_hides_it_does_not_hide_it_from_another():
    sight = Sight()
    assert sight.seen
    assert not sight.tell("a", 1, False)
    assert sight.tell("b", 1, True)
    assert sight.tell("a", 2, True)
    assert sight.tell("a", 3, False)
    assert not sight.tell("b", 2, False)
