"""Laws of the scales."""

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy import float32
from numpy.typing import NDArray
from torch import Tensor
from torchao.quantization.pt2e.observer import PerChannelMinMaxObserver

from paring.steps.quantize.observers import SMALLEST_SCALE, KnownScales, MsePerChannelObserver, specs_of
from paring.steps.quantize.scheme import Scheme

weights = arrays(float32, array_shapes(min_dims=2, max_dims=4, max_side=6), elements=st.floats(-100, 100, width=32))


def rounded(weight: Tensor, scale: Tensor) -> Tensor:
    by_channel = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return (weight / by_channel).round().clamp(-127, 127) * by_channel


def observed(kind: type[MsePerChannelObserver] | type[PerChannelMinMaxObserver], weight: Tensor) -> Tensor:
    observer = kind(
        ch_axis=0,
        dtype=torch.int8,
        qscheme=torch.per_channel_symmetric,
        quant_min=-127,
        quant_max=127,
        eps=SMALLEST_SCALE,
    )
    observer(weight)
    scale, zero_point = observer.calculate_qparams()
    assert not zero_point.any()
    return scale.reshape(-1)


@given(weights)
def test_no_channel_loses_more_by_mse_than_by_its_extremes(array: NDArray[float32]) -> None:
    weight = torch.from_numpy(array)
    errors = [
        (rounded(weight, observed(kind, weight)) - weight).square().flatten(1).sum(1)
        for kind in (MsePerChannelObserver, PerChannelMinMaxObserver)
    ]
    assert torch.all(errors[0] <= errors[1] * (1 + 1e-4) + 1e-12)


@given(weights)
def test_scales_are_positive_and_never_larger_than_the_extremes_need(array: NDArray[float32]) -> None:
    weight = torch.from_numpy(array)
    scale = observed(MsePerChannelObserver, weight)
    assert torch.all(scale > 0)
    extreme = weight.abs().flatten(1).amax(1) / 127
    assert torch.all(scale <= extreme.clamp_min(SMALLEST_SCALE) * (1 + 1e-5))


@given(weights, st.integers(-20, 6))
def test_scales_grow_with_the_weights(array: NDArray[float32], power: int) -> None:
    weight = torch.from_numpy(array)
    assume(bool((weight.abs().flatten(1).amax(1) > 1e-3).all()))
    small, large = observed(MsePerChannelObserver, weight), observed(MsePerChannelObserver, weight * 2.0**power)
    torch.testing.assert_close(large, small * 2.0**power)


def test_a_value_far_out_is_clipped() -> None:
    weight = torch.linspace(-1, 1, 100_001).reshape(1, -1).clone()
    weight[0, 0] = 1.6
    assert observed(MsePerChannelObserver, weight).item() < 1.2 / 127


def test_weak_channels_keep_their_precision() -> None:
    weight = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * 1e-6
    error = (rounded(weight, observed(PerChannelMinMaxObserver, weight)) - weight).abs().max()
    assert error < 1e-6 * 4 / 127


def test_known_scales_stand_where_an_observer_stood() -> None:
    specs = specs_of(Scheme())("any")
    assert specs is not None
    observer = specs.activation.observer_or_fake_quant_ctr(
        dtype=torch.int8, quant_min=-128, quant_max=127, qscheme=torch.per_tensor_affine
    )
    known = KnownScales(observer, torch.tensor([0.5]), torch.tensor([3]))
    assert known(torch.ones(3)).tolist() == [1, 1, 1]
    assert [value.item() for value in known.calculate_qparams()] == [0.5, 3]
    assert (known.dtype, known.quant_min, known.quant_max) == (torch.int8, -128, 127)
