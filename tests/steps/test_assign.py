"""The exact assignment."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.steps.assign import assign

numbers = st.floats(0, 100, allow_nan=False, width=32)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    losses, costs = ([[draw(numbers) for _ in range(size)] for size in sizes] for _ in range(2))
    return losses, costs


@settings(deadline=None)
@given(tables(), st.floats(0, 1))
def test_no_other_choice_within_the_limit_loses_less(
    given: tuple[list[list[float]], list[list[float]]], share: float
) -> None:
    losses, costs = given
    least, most = (sum(end(row) for row in costs) for end in (min, max))
    limit = least + share * (most - least) + 1e-6
    chosen = assign(losses, costs, limit)
    spent = sum(row[one] for row, one in zip(costs, chosen, strict=True))
    assert spent <= limit * (1 + 1e-6) + 1e-6
    best = min(
        sum(row[one] for row, one in zip(losses, other, strict=True))
        for other in product(*(range(len(row)) for row in costs))
        if sum(row[one] for row, one in zip(costs, other, strict=True)) <= limit * (1 - 1e-6) - 1e-6
        or other == tuple(chosen)
    )
    assert sum(row[one] for row, one in zip(losses, chosen, strict=True)) <= best + 1e-4


def test_a_limit_below_the_cheapest_is_refused() -> None:
    with pytest.raises(ParingError, match="the limit is 3"):
        assign([[0.0, 1.0]], [[5.0, 4.0]], 3.0)
