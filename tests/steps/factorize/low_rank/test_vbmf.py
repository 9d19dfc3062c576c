"""Analytic variational Bayes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.steps.factorize.low_rank.vbmf import rank


def noisy(rows: int, columns: int, wanted: int, noise: float, seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    left, right = (np.linalg.qr(chance.normal(size=(size, wanted)))[0] for size in (rows, columns))
    return np.sqrt(rows * columns / max(wanted, 1)) * left @ right.T + noise * chance.normal(size=(rows, columns))


@settings(max_examples=30)
@given(st.integers(20, 60), st.integers(20, 60), st.integers(1, 5), st.floats(0.01, 0.3), st.integers(0, 99))
def test_the_rank_below_noise_is_found(rows, columns, wanted, noise, seed):
    matrix = noisy(rows, columns, wanted, noise, seed)
    assert rank(matrix) == wanted == rank(matrix.T)


@settings(max_examples=20)
@given(st.integers(30, 80), st.integers(30, 80), st.integers(0, 99), st.floats(1e-3, 1e3))
def test_noise_has_no_rank_whatever_its_size(rows, columns, seed, size):
    assert rank(size * noisy(rows, columns, 0, 1.0, seed)) <= 1


def test_ends():
    assert rank(np.zeros((4, 5))) == 0
    assert rank(np.zeros((0, 5))) == 0
    assert rank(np.ones((1, 1))) <= 1
