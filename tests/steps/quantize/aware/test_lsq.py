"""Step sizes that are learned: they start where calibration stood, find better places, and stay sane."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.steps.quantize.aware.lsq import LearnedActivation, LearnedWeight
from paring.steps.quantize.aware.rounding import rounded_weight


def learned(scale: float, zero_point: int, low: int = -8, high: int = 7, *, symmetric: bool = False):
    return LearnedActivation(torch.tensor([scale]), torch.tensor([zero_point]), low, high, symmetric=symmetric)


@settings(deadline=None, max_examples=50)
@given(st.floats(1e-4, 10), st.integers(-8, 7))
def test_it_begins_where_calibration_stood(scale, zero_point):
    found, zero = learned(scale, zero_point).grid()
    assert found.item() == pytest.approx(scale)
    assert zero.item() == zero_point


@settings(deadline=None, max_examples=50)
@given(st.floats(-3, 3), st.floats(-30, 30))
def test_whatever_is_learned_the_grid_is_one_that_kernels_take(step, offset):
    activation = learned(0.1, 0)
    with torch.no_grad():
        activation.step.fill_(step)
        activation.offset.fill_(offset)
    scale, zero = activation.grid()
    assert scale > 0
    assert zero in range(-8, 8)
    assert activation(torch.zeros(3)).abs().max() == 0  # 0 is a code


def test_behind_a_relu_and_where_it_is_to_be_symmetric_no_offset_is_learned():
    assert learned(0.1, -8).offset is None
    assert learned(0.1, 0, symmetric=True).offset is None
    assert learned(0.1, -3).offset is not None


@pytest.mark.parametrize(("scale", "zero_point", "shift"), [(3.0, -8, 0.0), (0.5, -3, 0.7)])
def test_a_bad_start_is_mended(scale, zero_point, shift):
    data = torch.randn(64, 500, generator=torch.Generator().manual_seed(0)).abs() - shift
    activation = learned(scale, zero_point)
    before = (activation(data) - data).square().mean().item()
    optimizer = torch.optim.Adam(activation.parameters(), lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        (activation(data) - data).square().mean().backward()
        optimizer.step()
    after = (activation(data) - data).square().mean().item()
    steps = [percent / 100 for percent in range(10, 40)]
    tried = [torch.fake_quantize_per_tensor_affine(data, step, round(-8 + shift / step), -8, 7) for step in steps]
    best = min((one - data).square().mean() for one in tried)
    assert after < before / 4
    assert after < 1.3 * best.item()


def test_gradients_are_scaled_by_the_values_of_a_sample_and_the_codes():
    one, many = learned(0.25, -8), learned(0.25, -8)
    data = torch.rand(4, 100)
    one(data).sum().backward()
    many(data.repeat(1, 4)).sum().backward()  # four times the sum, half the share
    assert many.step.grad.item() == pytest.approx(2 * one.step.grad.item(), rel=1e-4)


@pytest.mark.parametrize("channels", [True, False])
def test_steps_of_channels_do_not_move_with_batch_norm(channels):
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    factor = torch.rand(6, 1, 1, 1) + 0.5
    scale = (weight * factor).abs().amax((1, 2, 3), keepdim=True) / 7
    scale = scale if channels else scale.max().reshape(1, 1, 1, 1)
    steps = LearnedWeight(scale, factor, weight.numel(), 7)
    torch.testing.assert_close(steps.scale(weight * factor, factor), scale)
    doubled = steps.scale(2 * weight * factor, 2 * factor)
    torch.testing.assert_close(doubled, 2 * scale if channels else scale)


def test_a_channel_that_batch_norm_puts_out_gives_zeros_not_nan():
    factor = torch.tensor([1.0, 0.0]).reshape(2, 1)
    weight = torch.ones(2, 3)
    steps = LearnedWeight(torch.tensor([[0.1], [2.0**-40]]), factor, 6, 127)
    scale = steps.scale(weight * factor, factor)
    rounded = rounded_weight(weight * factor, scale, 127)
    assert rounded[1].tolist() == [0, 0, 0]
    assert rounded.isfinite().all()
    rounded.sum().backward()
    assert steps.step.grad.isfinite().all()


def test_the_gradient_of_a_weights_step_is_scaled():
    weight = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    steps = LearnedWeight(torch.tensor([[0.3], [0.2]]), torch.ones(1, 1), 100, 7)
    rounded_weight(weight, steps.scale(weight, torch.ones(1, 1)), 7).sum().backward()
    plain = torch.tensor([[0.3], [0.2]], requires_grad=True)
    rounded_weight(weight, plain, 7).sum().backward()
    torch.testing.assert_close(steps.step.grad, plain.grad / math.sqrt(50 * 7))
