"""Rounding agrees with torch's own, and its gradients with those that the papers' formulas have."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.steps.quantize.aware.rounding import Fixed, rounded_activation, rounded_weight

seeds = st.integers(0, 2**16)
grids = st.sampled_from([(-128, 127), (-8, 7), (-32767, 32767)])


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def through(x: torch.Tensor) -> torch.Tensor:
    """round(x), whose gradient is 1."""
    return x + (x.round() - x).detach()


@settings(deadline=None, max_examples=50)
@given(seeds, grids, st.floats(1e-3, 1.0), st.floats(0, 1))
def test_activations_round_as_torch_does(seed, grid, scale, place):
    low, high = grid
    zero_point = round(low + place * (high - low))
    x = (4 * drawn(seed, 2, 3, 5)).requires_grad_()
    wanted = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, low, high)
    found = rounded_activation(x, torch.tensor(scale), torch.tensor(float(zero_point)), None, 1.0, low, high)
    assert torch.equal(found, wanted)
    again = rounded_activation(found, torch.tensor(scale), torch.tensor(float(zero_point)), None, 1.0, low, high)
    torch.testing.assert_close(again, found, rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=50)
@given(seeds, st.sampled_from([15, 255]), st.floats(0.01, 0.3), st.floats(0.1, 0.9), st.booleans())
def test_gradients_are_those_of_lsq_plus(seed, codes, scale, place, channels_last):
    low = -(codes + 1) // 2
    zero_point = round(low + place * codes)
    x = 3 * drawn(seed, 2, 3, 5, 4)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    upstream = drawn(seed + 1, 2, 3, 5, 4)
    step, offset = torch.tensor(scale, requires_grad=True), torch.tensor((low - zero_point) * scale, requires_grad=True)
    data = x.clone().requires_grad_()
    rounded_activation(data, step, torch.tensor(float(zero_point)), offset, 0.25, low, low + codes).backward(upstream)
    found = data.grad, step.grad, offset.grad

    step, offset = (one.detach().double().requires_grad_() for one in (step, offset))
    data = x.double().requires_grad_()
    (through(((data - offset) / step).clamp(0, codes)) * step + offset).backward(upstream.double())
    torch.testing.assert_close(found[0].double(), data.grad)
    for one, other in zip(found[1:], (step.grad, offset.grad), strict=True):
        torch.testing.assert_close(one.double(), 0.25 * other, rtol=1e-3, atol=1e-2)


@settings(deadline=None, max_examples=50)
@given(seeds, st.floats(0.01, 0.3))
def test_without_an_offset_the_gradient_is_that_of_lsq(seed, scale):
    x, upstream = 3 * drawn(seed, 200), drawn(seed + 1, 200)
    step = torch.tensor(scale, requires_grad=True)
    rounded_activation(x, step, torch.tensor(0.0), None, 1.0, -8, 7).backward(upstream)
    other = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    (through((x.double() / other).clamp(-8, 7)) * other).backward(upstream.double())
    torch.testing.assert_close(step.grad.double(), other.grad, rtol=1e-3, atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(seeds, st.sampled_from([7, 127]))
def test_weights_round_as_torch_does_and_codes_survive_a_second_rounding(seed, high):
    weight, scale = drawn(seed, 6, 4, 3, 3), drawn(seed + 1, 6).abs() / high + 1e-3
    wanted = torch.fake_quantize_per_channel_affine(weight, scale, torch.zeros(6, dtype=torch.int32), 0, -high, high)
    shaped = scale.reshape(6, 1, 1, 1)
    found = rounded_weight(weight, shaped, high)
    # dividing and multiplying with the inverse may differ at a tie
    assert ((found - wanted).abs() > 1e-6).double().mean() < 0.01
    assert torch.equal(rounded_weight(found, shaped, high), found)


def test_weights_outside_have_no_gradient_and_move_the_scale():
    weight = torch.tensor([[0.2, 10.0]], requires_grad=True)
    scale = torch.tensor([[1.0]], requires_grad=True)
    rounded_weight(weight, scale, 7).sum().backward()
    assert weight.grad.tolist() == [[1.0, 0.0]]
    assert scale.grad.item() == pytest.approx(-0.2 + 7)


def test_a_fixed_grid_stays():
    fixed = Fixed(torch.tensor([1 / 256]), torch.tensor([-128]), -128, 127)
    assert fixed(torch.tensor([0.5001, 2.0])).tolist() == [0.5, 255 / 256]
    assert not list(fixed.parameters())
    assert {"scale", "zero_point"} == set(fixed.state_dict())
