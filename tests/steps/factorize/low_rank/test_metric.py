"""Metrics: the error of a layer's outputs."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.steps.factorize.low_rank.metric import PLAIN, Metric, fit, principal


def drawn(outputs: int, inputs: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight, and second moments."""
    chance = torch.Generator().manual_seed(seed)
    rows = torch.randn(3 * inputs, inputs, generator=chance, dtype=torch.float64)
    rows = rows * torch.logspace(0, -2, inputs, dtype=torch.float64)
    return torch.randn(outputs, inputs, generator=chance, dtype=torch.float64), rows.T @ rows


SIZES = st.integers(2, 9)


@settings(max_examples=50)
@given(SIZES, SIZES, st.integers(1, 9), st.integers(0, 99))
def test_the_error_is_the_discarded_singular_values_and_no_other_of_the_rank_is_less(outputs, inputs, rank, seed):
    weight, moments = drawn(outputs, inputs, seed)
    left, values = principal(weight, moments)
    left, lost = left[:, :rank], float(values[rank:].square().sum())
    metric = Metric(moments, moments)
    assert abs(metric.loss(weight - left @ left.T @ weight) - lost) < 1e-9 * float(values.square().sum())
    plain = principal(weight, None)[0][:, :rank]
    other = metric.loss(weight - plain @ plain.T @ weight)
    assert other >= lost - 1e-9 * other


@settings(max_examples=50)
@given(SIZES, SIZES, st.integers(1, 4), st.integers(0, 99))
def test_the_fitted_factor_is_the_best(outputs, inputs, rank, seed):
    weight, moments = drawn(outputs, inputs, seed)
    reads = torch.randn(rank, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found, metric = fit(weight, reads, moments), Metric(moments)
    least = metric.loss(weight - found @ reads)
    for place in range(rank):
        for step in (-1e-3, 1e-3):
            moved = found.clone()
            moved[0, place] += step
            assert metric.loss(weight - moved @ reads) >= least * (1 - 1e-9)


def test_parts_of_patches_are_sums_over_the_other_places():
    moments = drawn(1, 2 * 3 * 2, 0)[1]
    metric = Metric(moments, None)
    down, across = metric.along((3, 2), 0), metric.along((3, 2), 1)
    whole = moments.reshape(2, 3, 2, 2, 3, 2)
    torch.testing.assert_close(down, sum(whole[:, :, w, :, :, w] for w in range(2)).reshape(6, 6))
    torch.testing.assert_close(across, sum(whole[:, h, :, :, h, :] for h in range(3)).reshape(4, 4))
    assert PLAIN.along((3, 2), 0) is None


def test_of_channels_alone_places_count_alike():
    weight, channels = drawn(4, 3, 1)
    error = weight[..., None, None].repeat(1, 1, 2, 2)
    wide = Metric(torch.kron(channels, torch.eye(4, dtype=torch.float64)))
    narrow = Metric(None, channels)
    assert abs(wide.loss(error) - narrow.loss(error)) < 1e-9 * narrow.loss(error)
    torch.testing.assert_close(narrow.along((2, 2), 0), torch.kron(channels, torch.eye(2, dtype=torch.float64)))
    torch.testing.assert_close(narrow.root @ narrow.root, channels)
    assert PLAIN.root is None
