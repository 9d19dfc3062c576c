"""Step sizes that are learned.

LSQ (Esser et al. 2020, arXiv:1902.08153), and LSQ+ (Bhalgat et al. 2020, arXiv:2004.09576) for activations with values
on both sides of 0, whose zero point stays on the grid of codes as the integer kernels need it.
"""

from math import sqrt

from torch import Tensor, nn

from paring.steps.quantize.aware.rounding import Activation, Weight, rounded_activation
from paring.steps.quantize.observers import SMALLEST_SCALE


class LearnedActivation(Activation):
    """One step size, and one offset where values lie on both sides of 0 and the zero point may move.

    Args:
        scale: to begin with, as calibration found it.
        zero_point: likewise.
        low: the lowest code.
        high: the highest.
        symmetric: whether the zero point is to stay 0.
    """

    zero_point: Tensor

    def __init__(self, scale: Tensor, zero_point: Tensor, low: int, high: int, *, symmetric: bool) -> None:
        super().__init__()
        self.low, self.high = low, high
        scale, zero_point = scale.detach().float().reshape(()), zero_point.detach().float().reshape(())
        self.step = nn.Parameter(scale)
        # the value of the lowest code; behind a ReLU that is 0 and stays so
        moves = not symmetric and int(zero_point) != low
        self.offset = nn.Parameter((low - zero_point) * scale) if moves else None
        self.register_buffer("zero_point", zero_point)
        self.span = high if symmetric else high - low

    def grid(self) -> tuple[Tensor, Tensor]:
        """As learned so far."""
        step = _positive(self.step)
        if self.offset is None:
            return step, self.zero_point
        return step, (self.low - (self.offset.detach() / step.detach()).round()).clamp(self.low, self.high)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; the gradient of the step is scaled by 1/√(N · Q_p), N the values of one sample."""
        share = 1 / sqrt(max(1, x[:1].numel()) * self.span)
        return rounded_activation(x, *self.grid(), self.offset, share, self.low, self.high)


class LearnedWeight(Weight):
    """A step size for each output channel, or one for all.

    Those of channels are steps of the weight before batch norm multiplies it, so that they stay where they are when its
    statistics move.

    Args:
        scale: to begin with, of the weight times `factor`, in a shape that multiplies the weight.
        factor: what batch norm multiplies each channel with, likewise.
        values: of the weight, in all.
        high: the highest code.
    """

    def __init__(self, scale: Tensor, factor: Tensor, values: int, high: int) -> None:
        super().__init__()
        self.high, self.channels = high, scale.numel() > 1
        self.share = 1 / sqrt(values / scale.numel() * high)
        step = scale.detach().float()
        self.step = nn.Parameter(step / factor.detach().abs().clamp_min(SMALLEST_SCALE) if self.channels else step)

    def scale(self, folded: Tensor, factor: Tensor) -> Tensor:
        """As learned so far; the gradient of a step is scaled by 1/√(N · Q_p), N the weights that share it."""
        step = _positive(self.step)
        step = step * self.share + (step - step * self.share).detach()
        return (step * factor.detach().abs() if self.channels else step).clamp_min(SMALLEST_SCALE)


def _positive(step: Tensor) -> Tensor:
    """A step may overshoot 0."""
    return step.abs().clamp_min(SMALLEST_SCALE)
