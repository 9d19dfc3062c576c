"""The share of zeros over a training."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.steps.prune.sparsity.polynomial import Polynomial

SCHEDULES = st.builds(
    Polynomial,
    initial=st.floats(0, 0.4),
    begin=st.integers(0, 50),
    frequency=st.integers(1, 30),
    power=st.floats(0.5, 5),
)


@given(SCHEDULES, st.floats(0.4, 0.99), st.integers(1, 100))
def test_it_rises_from_the_initial_share_to_the_final_one(schedule: Polynomial, final: float, length: int) -> None:
    end = schedule.begin + length
    shares = [schedule.share(step, end, final) for step in range(end + 20)]
    assert shares[: schedule.begin + 1] == pytest.approx([schedule.initial] * (schedule.begin + 1))
    assert shares[end:] == [final] * 20
    assert all(one <= other + 1e-12 for one, other in pairwise(shares))
    moving = [step for step in range(end + 20) if schedule.moves(step, end)]
    assert (moving[0], moving[-1]) == (schedule.begin, end)
    assert {two - one for one, two in pairwise(moving[:-1])} <= {schedule.frequency}


def test_it_is_the_papers_equation() -> None:
    # s_f + (s_i − s_f) (1 − (t − t_0) / (n Δt))³ with s_i = 0.1, s_f = 0.9, t_0 = 10, n Δt = 40, t = 20
    assert Polynomial(initial=0.1, begin=10).share(20, 50, 0.9) == pytest.approx(0.9 - 0.8 * 0.75**3)


def test_it_ends_within_the_training() -> None:
    assert Polynomial().end_of(300, "here") == 200
    assert Polynomial(end=300).end_of(300, "here") == 300
    for schedule in (Polynomial(end=301), Polynomial(begin=200)):
        with pytest.raises(ParingError, match="the training has 300"):
            schedule.end_of(300, "here")
