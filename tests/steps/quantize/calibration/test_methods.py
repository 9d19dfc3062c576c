"""What each method makes of a tensor."""

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from paring.steps.quantize.calibration import Method, observer
from paring.steps.quantize.observers import SMALLEST_SCALE

METHODS = get_args(Method)
SEARCHED = ("percentile", "entropy", "mse")


def shown(method: Method, *batches: Tensor, symmetric: bool = False, percentile: float = 99.99) -> Any:
    scheme = torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine
    found = observer(method, percentile, SMALLEST_SCALE)(
        dtype=torch.int8, quant_min=-128, quant_max=127, qscheme=scheme
    )
    for batch in batches:
        assert found(batch) is batch
    return found


def ends(observer: Any) -> tuple[float, float]:
    scale, zero = (float(one) for one in observer.calculate_qparams())
    return (-128 - zero) * scale, (127 - zero) * scale


def error(observer: Any, x: Tensor) -> float:
    scale, zero = observer.calculate_qparams()
    return float((torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero), -128, 127) - x).square().mean())


def normal(seed: int, count: int = 4000) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_zero_is_exact_and_the_range_never_wider_than_the_values(method: Method, symmetric: bool) -> None:
    for x in (normal(0), normal(1).relu(), -normal(2).relu(), normal(3) + 5):
        low, high = ends(shown(method, x, symmetric=symmetric))
        step = (high - low) / 255
        assert low <= 0 <= high
        extreme = float(x.abs().max())
        assert high <= (extreme if symmetric else max(0.0, float(x.max()))) + step
        assert low >= -(extreme if symmetric else max(0.0, -float(x.min()))) - 2 * step


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_tensor_keeps_its_value(method: Method) -> None:
    for value in (0.0, 0.7, -3.0):
        found = shown(method, torch.full((64,), value))
        x = torch.tensor([value])
        assert error(found, x) <= (abs(value) / 100) ** 2


@pytest.mark.parametrize("method", SEARCHED)
@pytest.mark.parametrize("zeros", [0, 100_000])
def test_the_zeros_of_a_relu_clip_no_values(method: Method, zeros: int) -> None:
    x = torch.cat([torch.rand(2000, generator=torch.Generator().manual_seed(0)) * 6, torch.zeros(zeros)])
    assert ends(shown(method, x))[1] > 5.8


@pytest.mark.parametrize("method", SEARCHED)
def test_a_value_far_out_is_clipped(method: Method) -> None:
    x = torch.cat([normal(0, 1_000_000), torch.tensor([60.0])])  # of fewer values it would be worth keeping
    assert ends(shown(method, x, percentile=99.9))[1] < 30


@settings(max_examples=20)
@given(st.integers(0, 50), st.sampled_from([0.0, 8.0, 40.0]))
def test_no_range_has_a_smaller_squared_error_than_that_of_mse(seed: int, outlier: float) -> None:
    x = torch.cat([normal(seed), torch.tensor([outlier])])
    best = error(shown("mse", x), x)
    for method in METHODS:
        assert best <= error(shown(method, x), x) * 1.05


def test_a_percentile_leaves_out_as_much_as_it_says() -> None:
    x = torch.linspace(-1, 3, 100_001)
    low, high = ends(shown("percentile", x, percentile=90))
    assert low == pytest.approx(-0.8, abs=0.03)
    assert high == pytest.approx(2.8, abs=0.03)
    assert ends(shown("percentile", x.abs(), percentile=90))[1] == pytest.approx(2.6, abs=0.03)


def test_an_average_follows_the_batches_slowly() -> None:
    low, high = ends(shown("moving_average", torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0])))
    assert (low, high) == pytest.approx((0.0, 1.1))


@pytest.mark.parametrize("method", SEARCHED)
def test_the_order_of_batches_hardly_matters(method: Method) -> None:
    parts = [normal(0), normal(1) * 4, normal(2) * 0.1]
    one, other = ends(shown(method, *parts)), ends(shown(method, *reversed(parts)))
    # the first batch decides where the bins lie, and near its best range the divergence is flat
    assert one == pytest.approx(other, rel=0.2 if method == "entropy" else 0.1)
