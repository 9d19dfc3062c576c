"""Repairs that put means and variances right: bias correction, empirical and analytic, and re-estimation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paring.steps.quantize import graph
from paring.steps.quantize.repairs import Work
from paring.steps.quantize.repairs.bias_correction import BiasCorrection, channel_axis, moments
from paring.steps.quantize.repairs.bias_correction_analytic import AnalyticBiasCorrection, clipped_mean
from paring.steps.quantize.repairs.options import Plain
from paring.steps.quantize.repairs.reestimate import Reestimate
from paring.steps.quantize.repairs.walk import Walk
from paring.testing.repairs import Worked, network, small


def shifts(work: Work) -> list[tuple[Tensor, Tensor]]:
    """For each layer: the shift of its output's means, and the ratio of its variances."""
    walk, found = Walk(work), []
    for place in walk:
        outputs = walk.quantized.through(place.layer.node)
        axis = channel_axis(outputs[0], len(work.graph.get_parameter(str(place.layer.bias))))
        mean, variance = moments(outputs, axis)
        wanted, wanted_variance = moments(walk.float.through(place.reference.node), axis)
        found.append((mean - wanted, variance / wanted_variance))
    return found


def test_biases_take_the_shift_of_every_layer_back(work: Worked) -> None:
    made = work(small(nn.ReLU6))
    before = shifts(made)
    BiasCorrection(Plain()).apply(made)
    after = shifts(made)
    assert max(float(shift.abs().max()) for shift, _ in before) > 1e-2
    assert max(float(shift.abs().max()) for shift, _ in after) < 1e-5


def test_means_and_variances_are_matched_and_codes_stay(work: Worked) -> None:
    made = work(small())
    codes = [(made.graph.get_parameter(one.weight) / scale_of(made, one)).round() for one in graph.weighted(made.graph)]
    Reestimate(Plain()).apply(made)
    for shift, ratio in shifts(made):
        assert float(shift.abs().max()) < 1e-4
        torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-3, atol=1e-3)
    for one, before in zip(graph.weighted(made.graph), codes, strict=True):
        assert torch.equal((made.graph.get_parameter(one.weight) / scale_of(made, one)).round(), before)


def scale_of(work: Work, layer: graph.Weighted) -> Tensor:
    observer = work.graph.get_submodule(str(layer.observer))
    scale = observer.scale
    assert isinstance(scale, Tensor)
    return scale.reshape(-1, *[1] * (work.graph.get_parameter(layer.weight).ndim - 1))


def test_from_batch_norm_the_shift_becomes_smaller_and_other_layers_are_named(work: Worked) -> None:
    module = network(
        nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU6(), nn.Conv2d(16, 8, 1), nn.Sigmoid(),
        nn.Conv2d(8, 4, 1),
    )  # fmt: skip
    norm, images = module[1], next(work(module).batches(48))[0]
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():  # statistics of the samples, as training would have left them
        mean, variance = moments([module[0](images)], 1)
        norm.running_mean, norm.running_var = mean, variance
        norm.bias.fill_(1.0)
    made = work(module)
    before = shifts(made)[1][0]
    AnalyticBiasCorrection(Plain()).apply(made)
    after = shifts(made)[1][0]
    assert float(after.abs().mean()) < 0.6 * float(before.abs().mean())
    assert "no batch norm tells the mean of what 0, 5 is given" in made.notes[-1]


@given(st.floats(-3, 3), st.floats(0.05, 3), st.sampled_from([(0.0, torch.inf), (0.0, 6.0), (-1.0, 1.0)]))
def test_the_mean_of_a_clipped_normal_variable(mean: float, deviation: float, ends: tuple[float, float]) -> None:
    quantiles = torch.linspace(0.5e-5, 1 - 0.5e-5, 100_000, dtype=torch.float64)
    drawn = (mean + deviation * torch.special.ndtri(quantiles)).clamp(*ends).mean()
    found = clipped_mean(*torch.tensor([mean, deviation], dtype=torch.float64), *ends)
    assert float(found) == pytest.approx(float(drawn), abs=1e-3)
