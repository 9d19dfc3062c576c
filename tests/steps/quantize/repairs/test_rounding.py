"""Learned rounding: AdaRound, layer by layer, and BRECQ, block by block."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paring.steps.quantize import graph
from paring.steps.quantize.annotate import layer_of
from paring.steps.quantize.repairs import Repair, Work
from paring.steps.quantize.repairs.adaround import Adaround
from paring.steps.quantize.repairs.blocks import blocks
from paring.steps.quantize.repairs.brecq import Brecq
from paring.steps.quantize.repairs.options import Adaround as AdaroundOptions
from paring.steps.quantize.repairs.options import Brecq as BrecqOptions
from paring.steps.quantize.repairs.rounding import Rounding
from paring.steps.quantize.repairs.walk import Walk
from paring.testing.repairs import Worked, network, outputs, small

FEW = AdaroundOptions(iterations=200, positions=1000, batch=200)


class Residual(nn.Module):
    """A block with a sum, or where the stride forbids it, without."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.wide, self.deep = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 3, stride, 1, groups=16)
        self.narrow, self.stride = nn.Conv2d(16, 8, 1), stride

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.narrow(torch.relu(self.deep(torch.relu(self.wide(x)))))
        return x + y if self.stride == 1 else y


def with_blocks() -> nn.Module:
    return network(nn.Conv2d(3, 8, 3), nn.ReLU(), Residual(), Residual(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                   nn.Linear(8, 5))  # fmt: skip


def loss(work: Work) -> float:
    """Squared error of the converted network."""
    wanted = outputs(work.folded, work)
    return float((outputs(graph.convert(work.graph), work) - wanted).square().mean())


def on_grid(work: Work) -> bool:
    walk = Walk(work)
    return all(
        torch.allclose(weight, walk.scales(place.layer).rounded(weight), rtol=1e-5, atol=1e-7)
        for place in walk.places
        for weight in [work.graph.get_parameter(place.layer.weight)]
    )


def test_what_is_zero_stays_zero() -> None:
    rounding = Rounding(torch.tensor([[0.0, 0.4, 0.0, -0.6]]), torch.tensor([[1.0]]), -7, 7)
    with torch.no_grad():
        rounding.choice.fill_(9.0)  # all up
    assert rounding.final().tolist() == [[0.0, 1.0, 0.0, 0.0]]
    assert rounding.weight(rounding.up()).tolist() == [[0.0, 1.0, 0.0, 0.0]]


@given(st.integers(0, 1000), st.integers(2, 8), st.floats(0.01, 2.0))
def test_a_choice_begins_at_the_weight_and_ends_on_the_grid(seed: int, bits: int, step: float) -> None:
    weight, largest = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)), 2 ** (bits - 1) - 1
    scale = torch.full((4, 1), step)
    rounding = Rounding(weight, scale, -largest, largest)
    inside = weight.clamp(-largest * step, largest * step)
    torch.testing.assert_close(rounding.weight(rounding.up()), inside, rtol=1e-4, atol=1e-4 * step)
    codes = rounding.final() / scale
    assert torch.allclose(codes, codes.round(), atol=1e-4)
    assert float(codes.abs().max()) <= largest + 1e-4
    assert torch.all((rounding.final() - inside).abs() <= step * (0.5 + 1e-3))


@pytest.mark.parametrize("weights", ["int4", "int8"])
def test_each_layers_error_is_below_that_of_rounding_to_the_nearest(work: Worked, weights: str) -> None:
    made = work(small(nn.ReLU6), weights=weights)
    walk, generator = Walk(made), torch.Generator().manual_seed(0)
    errors = [Adaround(FEW).round(walk, place, generator) for place in walk]
    assert all(after <= before for before, after in errors)
    if weights == "int4":
        assert sum(after for _, after in errors) < 0.9 * sum(before for before, _ in errors)
    assert on_grid(made)


def test_damping_keeps_the_rounding_from_leaning_on_few_samples(work: Worked) -> None:
    """One layer of 64 inputs, seen at 24 positions and judged at others: damped, it errs less there."""

    def unseen(damping: float) -> float:
        made = work(network(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.Conv2d(64, 8, 1)), weights="int4")
        options = AdaroundOptions(iterations=300, positions=24, batch=24, damping=damping)
        Adaround(options).apply(made)
        return loss(made)

    assert unseen(1.0) < 0.9 * unseen(0.0)


def test_damping_alone_rounds_to_the_nearest(work: Worked) -> None:
    made, nearest = (work(small(nn.ReLU6), weights="int4") for _ in range(2))
    Adaround(FEW.model_copy(update={"damping": 1e6})).apply(made)
    for place in Walk(nearest).places:
        weight = nearest.graph.get_parameter(place.layer.weight)
        wanted = Walk(nearest).scales(place.layer).rounded(weight)
        torch.testing.assert_close(made.graph.get_parameter(place.layer.weight), wanted)


@pytest.mark.parametrize("repair", [Adaround(FEW), Brecq(BrecqOptions(batch=32))])
def test_at_four_bits_the_network_is_better_than_rounded_to_the_nearest(work: Worked, repair: Repair) -> None:
    nearest, made = work(with_blocks()), work(with_blocks())
    repair.apply(made)
    assert on_grid(made)
    assert loss(made) < 0.7 * loss(nearest)


def test_a_residual_sum_and_modules_of_its_kind_are_blocks(work: Worked) -> None:
    found = blocks(work(with_blocks(), moment="before").graph)
    assert [[layer_of(node) for node in one.layers] for one in found] == [
        ["0"], ["2.wide", "2.deep", "2.narrow"], ["3.wide", "3.deep", "3.narrow"], ["6"],
    ]  # fmt: skip


def test_without_a_block_layers_are_taken_one_by_one(work: Worked) -> None:
    made = work(small())
    Brecq(BrecqOptions(iterations=20)).apply(made)
    assert made.notes == ["rounding learned in 0 blocks and 4 layers"]
    assert on_grid(made)


def test_a_transposed_convolution_is_left_to_the_nearest_and_named(work: Worked) -> None:
    made = work(network(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2)))
    Adaround(FEW).apply(made)
    assert "transposed: 2" in made.notes[-1]
