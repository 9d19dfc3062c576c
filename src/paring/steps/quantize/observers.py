"""What is observed, and how: scales of weights by their extremes or by the smallest squared error."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

from paring.steps.quantize.annotate import Specs
from paring.steps.quantize.calibration import Method, observer
from paring.steps.quantize.pt2e import MinMaxObserver, ObserverBase, PerChannelMinMaxObserver, QuantizationSpec
from paring.steps.quantize.scheme import BITS, Precision, Scheme

# The smallest scale. torchao's default (float32's epsilon) and XNNPACKQuantizer's 2⁻¹² both round the weights of a weak
# channel, as depthwise layers with folded batch norm have them, to a handful of codes.
SMALLEST_SCALE = 2.0**-40


class MsePerChannelObserver(PerChannelMinMaxObserver):  # type: ignore[misc]  # torchao is untyped
    """Per-channel symmetric scales with the smallest squared error; see `smallest_error`.

    torchao passes the axis of the channels on to classes with "PerChannel" in their name only.
    """

    def forward(self, x_orig: Tensor) -> Tensor:
        """Keeps, for each channel, the range that loses least."""
        best = smallest_error(x_orig.detach().float().movedim(self.ch_axis, 0).flatten(1), self.quant_max)
        self.min_val, self.max_val = -best, best
        return x_orig


class MseTensorObserver(MinMaxObserver):  # type: ignore[misc]
    """One symmetric scale for a whole weight; see `smallest_error`."""

    def forward(self, x_orig: Tensor) -> Tensor:
        """Keeps the range that loses least."""
        best = smallest_error(x_orig.detach().float().flatten()[None], self.quant_max).squeeze()
        self.min_val, self.max_val = -best, best
        return x_orig


def smallest_error(rows: Tensor, largest: int) -> Tensor:
    """The symmetric range of each row with the smallest squared error, among 1.00, 0.99, … 0.30 of its extreme.

    A weight that lies alone, far out, is clipped where that makes the others finer (Banner et al. 2019,
    arXiv:1810.05723, section 3, by search instead of a closed form).

    Args:
        rows: float32, shape (rows, values).
        largest: the largest code.
    """
    extreme = rows.abs().amax(1, keepdim=True).clamp_min(SMALLEST_SCALE * largest)
    best, least = extreme.clone(), torch.full_like(extreme, torch.inf)
    for percent in range(100, 29, -1):
        scale = extreme * (percent / 100) / largest
        error = ((rows / scale).round_().clamp_(-largest, largest) * scale - rows).square_().sum(1, keepdim=True)
        better = error < least
        best, least = torch.where(better, scale * largest, best), torch.where(better, error, least)
    return best.squeeze(1)


class KnownScales(ObserverBase):  # type: ignore[misc]
    """Stands where an observer stood and answers with its scales: how a saved model is rebuilt."""

    def __init__(self, observer: Any, scale: Tensor, zero_point: Tensor) -> None:
        super().__init__(dtype=observer.dtype)
        self.quant_min, self.quant_max = observer.quant_min, observer.quant_max
        self.qscheme, self.ch_axis = observer.qscheme, getattr(observer, "ch_axis", None)
        self.scale, self.zero_point = scale, zero_point

    def forward(self, x: Tensor) -> Tensor:
        """Passes on."""
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """(scale, zero point) as given."""
        return self.scale, self.zero_point

    @property
    def per_channel(self) -> bool:
        """Whether there is one scale for each channel."""
        return self.ch_axis not in (None, -1)

    def rounded(self, x: Tensor) -> Tensor:
        """What x becomes where the graph is converted: S · (clamp(round(x / S) + Z) − Z)."""
        if self.per_channel:
            zeros = self.zero_point.to(torch.int32)
            axis = int(self.ch_axis or 0)
            return torch.fake_quantize_per_channel_affine(
                x, self.scale.float(), zeros, axis, self.quant_min, self.quant_max
            )
        scale, zero = float(self.scale), int(self.zero_point)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, self.quant_min, self.quant_max)


WEIGHTS = {
    ("channel", "minmax"): PerChannelMinMaxObserver,
    ("channel", "mse"): MsePerChannelObserver,
    ("tensor", "minmax"): MinMaxObserver,
    ("tensor", "mse"): MseTensorObserver,
}


def of_tensor(method: Literal["minmax", "mse"]) -> Any:
    """An observer of one symmetric scale for a whole weight of eight bits, its range found by this method."""
    return WEIGHTS["tensor", method](
        dtype=torch.int8, qscheme=torch.per_tensor_symmetric, quant_min=-127, quant_max=127, eps=SMALLEST_SCALE
    )


def specs_of(
    scheme: Scheme,
    activations: Method = "minmax",
    weights: Literal["minmax", "mse"] = "mse",
    percentile: float = 99.99,
) -> Callable[[str], Specs | None]:
    """Name of a layer -> how it is quantized.

    Weights are symmetric, in [−127, 127] or [−7, 7]; int8 activations affine in [−128, 127], int4 ones in [−8, 7],
    int16 ones symmetric in [−32767, 32767], each with one scale for the tensor.

    Args:
        scheme: the bits of each layer.
        activations: how ranges of activations are found.
        weights: how ranges of weights are found.
        percentile: of the method of that name.
    """

    @cache
    def specs(precision: Precision) -> Specs | None:
        if precision.weights == "float32" or precision.activations == "float32":
            return None
        return Specs(
            _activation(precision.activations, scheme.symmetric, activations, percentile),
            partial(_weight, precision.weights, precision.granularity or scheme.granularity, weights),
        )

    return lambda layer: specs(scheme.of(layer))


def _activation(kind: str, symmetric: bool, method: Method, percentile: float) -> QuantizationSpec:
    wide, largest = kind == "int16", 2 ** (BITS[kind] - 1) - 1
    return QuantizationSpec(
        dtype=torch.int16 if wide else torch.int8,
        quant_min=-largest if wide else -largest - 1,
        quant_max=largest,
        qscheme=torch.per_tensor_symmetric if wide or symmetric else torch.per_tensor_affine,
        observer_or_fake_quant_ctr=observer("minmax" if wide else method, percentile, SMALLEST_SCALE),
    )


def _weight(kind: str, granularity: str, method: str, axis: int) -> QuantizationSpec:
    largest = 2 ** (BITS[kind] - 1) - 1
    channel = granularity == "channel"
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=-largest,
        quant_max=largest,
        qscheme=torch.per_channel_symmetric if channel else torch.per_tensor_symmetric,
        ch_axis=axis if channel else None,
        observer_or_fake_quant_ctr=WEIGHTS[granularity, method].with_args(eps=SMALLEST_SCALE),
    )
