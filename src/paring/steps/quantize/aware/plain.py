"""Ranges that follow what passes: Jacob et al. 2018, arXiv:1712.05877, section 3.

Weights take the range of their extremes in every step; activations a moving average of the extremes of each batch.
"""

import torch
from torch import Tensor

from paring.steps.quantize.aware.rounding import Activation, Weight
from paring.steps.quantize.observers import SMALLEST_SCALE

_MOVE = 0.01  # share of a batch in the average: "smoothing parameter close to 1" (section 3.1)


class MovingActivation(Activation):
    """The moving average of the extremes, 0 among them; `moving` says whether a batch in training still moves it.

    Args:
        scale: to begin with, as calibration found it.
        zero_point: likewise.
        low: the lowest code.
        high: the highest.
        symmetric: whether the zero point is to stay 0.
    """

    smallest: Tensor
    largest: Tensor

    def __init__(self, scale: Tensor, zero_point: Tensor, low: int, high: int, *, symmetric: bool) -> None:
        super().__init__()
        self.low, self.high, self.symmetric, self.moving = low, high, symmetric, True
        scale, zero_point = scale.detach().float().reshape(()), zero_point.detach().float().reshape(())
        self.register_buffer("smallest", (low - zero_point) * scale)
        self.register_buffer("largest", (high - zero_point) * scale)

    def grid(self) -> tuple[Tensor, Tensor]:
        """From the extremes as they stand."""
        smallest, largest = self.smallest.clamp_max(0), self.largest.clamp_min(0)
        if self.symmetric:
            scale = torch.maximum(-smallest, largest) / ((self.high - self.low) / 2)
            return scale.clamp_min(SMALLEST_SCALE), torch.zeros_like(scale)
        scale = ((largest - smallest) / (self.high - self.low)).clamp_min(SMALLEST_SCALE)
        return scale, (self.low - (smallest / scale).round()).clamp(self.low, self.high)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if self.training and self.moving:
            smallest, largest = torch.aminmax(x.detach())
            self.smallest.lerp_(smallest, _MOVE)
            self.largest.lerp_(largest, _MOVE)
        return super().forward(x)


class ExtremeWeight(Weight):
    """The extreme of each output channel, or of all; it has no state.

    Args:
        scale: as calibration found it, in a shape that multiplies the weight; only the shape counts.
        factor: not needed.
        values: not needed.
        high: the highest code.
    """

    def __init__(self, scale: Tensor, factor: Tensor, values: int, high: int) -> None:
        super().__init__()
        self.high = high
        self.shared = [axis for axis, size in enumerate(scale.shape) if size == 1]

    def scale(self, folded: Tensor, factor: Tensor) -> Tensor:
        """Of the weight as it stands."""
        return (folded.detach().abs().amax(self.shared, keepdim=True) / self.high).clamp_min(SMALLEST_SCALE)
