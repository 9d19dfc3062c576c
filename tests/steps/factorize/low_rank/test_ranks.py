"""Rules that look at one layer."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from paring.steps.factorize.low_rank.candidates import Candidate
from paring.steps.factorize.low_rank.layers import Layer
from paring.steps.factorize.low_rank.metric import PLAIN
from paring.steps.factorize.low_rank.ranks import chosen
from paring.steps.factorize.low_rank.split import NoFactors
from paring.steps.factorize.low_rank.svd import Svd


def candidate(values, round_to=2) -> Candidate:
    """A linear layer with these singular values, then zeros."""
    layer = nn.Linear(20, 20, bias=False)
    values = torch.cat([torch.tensor(values), torch.zeros(20 - len(values))])
    with torch.no_grad():
        left, right = (torch.linalg.qr(torch.randn(20, 20)).Q for _ in range(2))
        layer.weight.copy_(left * values @ right)
    return Candidate(Layer("layer", shapes=((1, 20),)), layer, Svd().split(layer, PLAIN, None), round_to)


def rule(**given):
    return SimpleNamespace(**{"energy": None, "rank": None, "ratio": None, **given})


@pytest.mark.parametrize(("energy", "rank"), [(0.4, 2), (0.7, 4), (0.85, 6), (0.99, 6)])
def test_energy(energy, rank):
    assert chosen(candidate([2.0, 2.0, 2.0, 1.5, 1.5, 1.0]), rule(energy=energy)) == (rank,)


def test_the_lowest_rank_that_keeps_enough_is_found_wherever_it_lies():
    found = candidate([1.0] * 10, 1)
    for rank in range(1, 10):
        assert chosen(found, rule(energy=rank / 10 - 0.01)) == (rank,)


def test_energy_that_only_dear_factors_keep():
    with pytest.raises(NoFactors, match=r"at rank 8, the highest that saves anything, 0.400 of its energy stays"):
        chosen(candidate([1.0] * 20), rule(energy=0.5))


@pytest.mark.parametrize(("ratio", "rank"), [(0.2, 2), (0.39, 2), (0.4, 4), (0.9, 8)])
def test_ratio(ratio, rank):
    assert chosen(candidate([1.0] * 20), rule(ratio=ratio)) == (rank,)


def test_a_ratio_below_the_least_rank():
    with pytest.raises(NoFactors, match=r"even rank 4 leaves more than 0.2 of its parameters"):
        chosen(candidate([1.0] * 20, 4), rule(ratio=0.2))


def test_a_rank():
    assert chosen(candidate([1.0] * 20), rule(rank=3)) == (3,)
    with pytest.raises(NoFactors, match="rank 10 would cost more"):
        chosen(candidate([1.0] * 20), rule(rank=10))
    with pytest.raises(NoFactors, match="rank 21 is over the 20 that it can have"):
        chosen(candidate([1.0] * 20), rule(rank=21))


def test_variational_bayes_rounds_up():
    noisy = candidate([9.0, 8.0, 7.0] + [0.01] * 17)
    assert chosen(noisy, rule()) == (4,)


def test_what_is_too_small():
    with pytest.raises(NoFactors, match="too small"):
        chosen(candidate([1.0] * 20, 16), rule(energy=0.1))
