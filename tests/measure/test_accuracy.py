"""Shares with their interval, and noise in decibels."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.measure.accuracy import accuracy, agreement, share, sqnr
from paring.measure.answers import Answers

counts = st.integers(1, 10**5).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


def test_the_interval_is_wilsons() -> None:
    # the interval of 8 of 10 is 0.4901 … 0.9433 (Brown, Cai and DasGupta 2001 give the formula; Statistical Science 16)
    assert share(8, 10) == (pytest.approx(80.0), pytest.approx(100 * (0.9433 - 0.4902) / 2, abs=0.01))


@given(counts)
def test_the_interval_is_never_empty_and_shrinks_with_the_sample(count: tuple[int, int]) -> None:
    value, half = share(*count)
    assert 0 <= value <= 100
    assert 0 < half < 100
    assert share(4 * count[0], 4 * count[1])[1] < half


@given(st.integers(1000, 10**5))
def test_in_the_middle_it_is_the_normal_interval(total: int) -> None:
    assert share(total // 2, total)[1] == pytest.approx(100 * 1.96 * 0.5 / sqrt(total), rel=0.01)


def test_accuracy_and_agreement_count_top_answers() -> None:
    targets = np.array([0, 1, 2, 1])
    one = Answers(np.eye(3, dtype=np.float32)[[0, 1, 2, 0]], targets)
    other = Answers(np.eye(3, dtype=np.float32)[[0, 1, 1, 0]], targets)
    assert (accuracy(one)[0], accuracy(other)[0], agreement(one, other)[0]) == (75.0, 50.0, 75.0)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 0.5))
def test_noise_of_a_tenth_is_twenty_decibels(size: float, share_of_noise: float) -> None:
    signal = np.array([1.0, -1.0, 1.0, -1.0]) * size
    noisy = signal * (1 + share_of_noise)
    assert sqnr(signal, noisy) == pytest.approx(-20 * np.log10(share_of_noise), abs=1e-6)
    assert sqnr(signal, signal) == 200.0
    assert sqnr(np.zeros(4), signal) < 0
