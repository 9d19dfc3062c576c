"""Budgets that are measured."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.steps.goal import TRIALS, largest_share, limit


@settings(max_examples=200)
@given(st.floats(0, 5), st.floats(0.1, 10), st.floats(0.5, 2), st.floats(0.05, 0.5), st.floats(0.1, 0.99))
def test_the_limit_is_kept_wherever_it_can_be(overhead, slope, power, least, factor):
    asked = []

    def at(share):
        asked.append(share)
        return overhead + slope * share**power

    before = overhead + slope
    wanted = factor * before
    share, value = largest_share(at, least, before, wanted)
    assert len(asked) <= TRIALS
    assert all(least <= one < 1 for one in asked)
    if overhead + slope * least**power <= wanted:
        assert value <= wanted
        best = ((wanted - overhead) / slope) ** (1 / power)
        assert share >= least
        assert value >= 0.9 * wanted or share >= best - 0.1
    else:
        assert share == least


def test_what_is_cheap_enough_stays_whole():
    assert largest_share(lambda _: 1 / 0, 0.1, 5.0, 6.0) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("latency", "size", "wanted"),
    [("0.2 ms", None, (0.2, "ms", False)), ("0.6x", None, (0.6, "ms", True)), (None, "3 KiB", (3072, "bytes", False))],
)
def test_limits_are_read(latency, size, wanted):
    found = limit(latency, size, "here")
    assert (found.value, found.unit, found.relative) == wanted


@pytest.mark.parametrize(("latency", "size"), [("1x", None), ("0x", None), ("2 KiB", None), (None, "2 ms")])
def test_what_cannot_be_a_limit_is_refused(latency, size):
    with pytest.raises(ParingError):
        limit(latency, size, "here")
