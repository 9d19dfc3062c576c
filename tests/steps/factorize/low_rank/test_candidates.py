"""What factors cost beside their layer."""

from torch import nn

from paring.steps.factorize.low_rank.candidates import Candidate
from paring.steps.factorize.low_rank.layers import Layer
from paring.steps.factorize.low_rank.metric import PLAIN
from paring.steps.factorize.low_rank.svd import Svd


def candidate(layer: nn.Module, shape, round_to=8) -> Candidate:
    return Candidate(Layer("layer", shapes=(shape,)), layer, Svd().split(layer, PLAIN, None), round_to)


def test_the_ladder_ends_where_factors_cost_as_much():
    found = candidate(nn.Linear(64, 64, bias=False), (1, 64))
    assert (found.whole.macs, found.whole.parameters) == (4096, 4096)
    assert found.ladder == [(8,), (16,), (24,)]
    assert found.cost((32,)).parameters == 4096
    assert not found.saves((32,))


def test_a_stride_makes_the_first_factor_dear():
    straight, strided = (candidate(nn.Conv2d(32, 32, 3, stride, 1), (1, 32, 8, 8)) for stride in (1, 2))
    assert len(straight.ladder) > len(strided.ladder) > 0


def test_of_a_table_parameters_count_alone():
    found = candidate(nn.Embedding(1000, 64), (1, 7))
    assert found.whole.macs == 0
    assert found.ladder[-1] == (56,)


def test_what_is_too_small_has_no_ladder():
    assert candidate(nn.Linear(8, 8), (1, 8)).ladder == []
