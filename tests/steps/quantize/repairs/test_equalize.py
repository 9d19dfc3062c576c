"""Equalization changes ranges, and nothing that the network computes."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paring.steps.quantize.repairs import Work
from paring.steps.quantize.repairs.equalize import SCALED, Equalize, pairs
from paring.steps.quantize.repairs.options import Equalize as Options
from paring.testing.repairs import Worked, network, outputs, small

once = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def unequal(module: nn.Module, seed: int) -> nn.Module:
    """The network with channels of very different ranges."""
    generator = torch.Generator().manual_seed(seed)
    for one in module.modules():
        if isinstance(one, nn.Conv2d):
            one.weight.data *= 10 ** torch.empty(len(one.weight), 1, 1, 1).uniform_(-2, 0.5, generator=generator)
    return module


def ratio(work: Work) -> float:
    """How much wider the widest input channel of a second layer is than the narrowest, at worst."""
    found = []
    for pair in pairs(work.graph):
        weight = work.graph.get_parameter(pair.first.weight)
        ranges = weight.abs().flatten(1).amax(1)
        found.append(float(ranges.max() / ranges.min()))
    return max(found)


@once
@given(st.integers(0, 10_000), st.sampled_from([nn.ReLU, nn.ReLU6, nn.LeakyReLU]))
def test_the_network_computes_the_same(work: Worked, seed: int, activation: type[nn.Module]) -> None:
    made = work(unequal(small(activation, seed), seed), moment="before")
    before = outputs(made.graph, made)
    Equalize(Options(sweeps=5)).apply(made)
    after = outputs(made.graph, made)
    assert float((after - before).abs().max()) <= 1e-4 * max(1.0, float(before.abs().max()))


def test_ranges_come_closer(work: Worked) -> None:
    made = work(unequal(small(), 0), moment="before")
    before = ratio(made)
    Equalize(Options()).apply(made)
    assert len(pairs(made.graph)) == 3
    assert ratio(made) < before / 3
    assert "3 pairs of layers equalized" in made.notes[0]


def test_a_channel_that_meets_the_limit_of_a_relu6_is_left_alone(work: Worked) -> None:
    module = network(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 1))
    first = module[0]
    assert isinstance(first, nn.Conv2d)
    assert first.bias is not None
    first.weight.data[0] *= 100
    first.weight.data[1:] *= 0.01
    first.bias.data[1:] *= 0.01
    made = work(module, moment="before")
    Equalize(Options()).apply(made)
    factor: Tensor = pairs(made.graph)[0].first.node.meta[SCALED]
    assert factor[0] == 1
    assert torch.all(factor[1:] > 1)


class Branching(nn.Module):
    """A value that two layers use, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.one(x))
        z: Tensor = self.three(torch.relu(self.two(y)) + y)
        return z


class Shared(nn.Module):
    """One layer, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(torch.relu(self.one(torch.relu(self.one(x)))))
        return y


@pytest.mark.parametrize(
    "module", [Branching(), Shared(), network(nn.Conv2d(3, 4, 1), nn.Sigmoid(), nn.Conv2d(4, 2, 1))]
)
def test_no_pair_lies_across_a_branch_a_shared_weight_or_a_curve(work: Worked, module: nn.Module) -> None:
    assert pairs(work(module, moment="before").graph) == []


def test_a_flattened_image_is_paired_by_its_channels(work: Worked, tmp_path: Path) -> None:
    module = network(nn.Conv2d(3, 4, 3, stride=3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 5))
    made = work(module, moment="before")
    before = outputs(made.graph, made)
    Equalize(Options()).apply(made)
    assert len(pairs(made.graph)) == 1
    torch.testing.assert_close(outputs(made.graph, made), before, rtol=1e-4, atol=1e-4)
