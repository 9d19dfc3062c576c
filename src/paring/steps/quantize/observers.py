"""Scales from what a tensor holds: by its extremes, or by the smallest squared error."""

from typing import Any, Literal

import torch
from torch import Tensor
from torchao.quantization.pt2e.observer import HistogramObserver, MinMaxObserver, ObserverBase, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import QuantizationSpec

from paring.steps.quantize.annotate import Specs

Method = Literal["minmax", "mse"]

# The smallest scale. torchao's default (float32's epsilon) and XNNPACKQuantizer's 2⁻¹² both round the weights of a weak
# channel, as depthwise layers with folded batch norm have them, to a handful of codes.
SMALLEST_SCALE = 2.0**-40


class MseWeightObserver(PerChannelMinMaxObserver):  # type: ignore[misc]  # torchao is untyped
    """Per-channel symmetric scales with the smallest squared error, among 1.0, 0.99, … 0.5 of the channel's extreme.

    A weight that lies alone, far out, is clipped where that makes the others finer (Banner et al. 2019,
    arXiv:1810.05723, section 3, by search instead of a closed form).
    """

    def forward(self, x_orig: Tensor) -> Tensor:
        """Keeps, for each channel, the range that loses least."""
        super().forward(x_orig)
        flat = x_orig.detach().float().movedim(self.ch_axis, 0).flatten(1)
        extreme = flat.abs().amax(1, keepdim=True).clamp_min(SMALLEST_SCALE * self.quant_max)
        best, least = extreme.clone(), torch.full_like(extreme, torch.inf)
        for percent in range(100, 49, -1):
            scale = extreme * (percent / 100) / self.quant_max
            codes = (flat / scale).round().clamp(self.quant_min, self.quant_max)
            error = (codes * scale - flat).square().sum(1, keepdim=True)
            better = error < least
            best, least = torch.where(better, scale * self.quant_max, best), torch.where(better, error, least)
        self.min_val, self.max_val = -best.squeeze(1), best.squeeze(1)
        return x_orig


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


def int8_specs(method: Method) -> Specs:
    """int8 weights per output channel, symmetric in [−127, 127]; int8 activations per tensor, affine in [−128, 127]."""
    activation_observer = MinMaxObserver if method == "minmax" else HistogramObserver
    weight_observer = PerChannelMinMaxObserver if method == "minmax" else MseWeightObserver
    activation = QuantizationSpec(
        dtype=torch.int8,
        quant_min=-128,
        quant_max=127,
        qscheme=torch.per_tensor_affine,
        observer_or_fake_quant_ctr=activation_observer.with_args(eps=SMALLEST_SCALE),
    )

    def weight(axis: int) -> QuantizationSpec:
        return QuantizationSpec(
            dtype=torch.int8,
            quant_min=-127,
            quant_max=127,
            qscheme=torch.per_channel_symmetric,
            ch_axis=axis,
            observer_or_fake_quant_ctr=weight_observer.with_args(eps=SMALLEST_SCALE),
        )

    return Specs(activation, weight)
