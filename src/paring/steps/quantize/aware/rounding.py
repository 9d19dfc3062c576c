"""Rounding that a gradient passes through, and what every quantizer of a training has in common.

The gradient of round(x) is taken as 1 (straight-through estimator; Bengio et al. 2013, arXiv:1308.3432), that of a step
size as in LSQ (Esser et al. 2020, arXiv:1902.08153, equations 3 and 5), that of an offset as in LSQ+ (Bhalgat et al.
2020, arXiv:2004.09576, equations 5 and 6).
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Activation(nn.Module):
    """Rounds a tensor of activations to scale · (code − zero point), with codes from `low` to `high`."""

    low: int
    high: int

    @abstractmethod
    def grid(self) -> tuple[Tensor, Tensor]:
        """(scale, zero point), float32, without dimensions; the zero point a whole number from `low` to `high`."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return rounded_activation(x, *self.grid(), None, 1.0, self.low, self.high)


class Fixed(Activation):
    """A grid that the kernels prescribe, as that of a sigmoid's output."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, scale: Tensor, zero_point: Tensor, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.register_buffer("scale", scale.detach().float().reshape(()))
        self.register_buffer("zero_point", zero_point.detach().float().reshape(()))

    def grid(self) -> tuple[Tensor, Tensor]:
        """As given."""
        return self.scale, self.zero_point


class Weight(nn.Module):
    """Finds the scales of a symmetric weight, with codes from −`high` to `high`."""

    high: int

    @abstractmethod
    def scale(self, folded: Tensor, factor: Tensor) -> Tensor:
        """One scale a channel, or one in all, in a shape that multiplies the weight.

        Args:
            folded: the weight, times `factor`.
            factor: what batch norm multiplies each channel with, in a shape that multiplies the weight.
        """


def rounded_weight(weight: Tensor, scale: Tensor, high: int) -> Tensor:
    """Scale · clamp(round(weight / scale)), in float; LSQ, equation 1, with its gradients for weight and scale."""
    code = (weight / scale).clamp(-high, high)
    return (code + (code.round() - code).detach()) * scale


def rounded_activation(
    x: Tensor, scale: Tensor, zero_point: Tensor, offset: Tensor | None, share: float, low: int, high: int
) -> Tensor:
    """Scale · (clamp(round(x / scale) + zero point) − zero point), in float.

    Args:
        x: any shape.
        scale: without dimensions; has a gradient if it wants one.
        zero_point: likewise, a whole number, without a gradient of its own.
        offset: the value of the lowest code, where it is learned; it receives the gradient of the zero point.
        share: what the gradients of scale and offset are multiplied with.
        low: the lowest code.
        high: the highest.
    """
    rounded: Tensor = _Rounded.apply(x, scale, zero_point, offset, share, low, high)  # type: ignore[no-untyped-call]
    return rounded


class _Rounded(torch.autograd.Function):
    """Four vectorized passes over the tensor; torch's fused kernels take about six times as long on a CPU.

    With x̂ the rounded x and dx the gradient inside the range, LSQ's gradient of the scale is
    Σ grad·x̂ − Σ dx·x, over the scale: the sums need no tensor between.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, offset: Tensor | None, share: float, low: int, high: int
    ) -> Tensor:
        step, zero = torch.stack([scale, zero_point]).tolist()
        rounded: Tensor = (x * (1 / step)).round_().clamp_(low - zero, high - zero).mul_(step)
        ctx.save_for_backward(x, rounded)
        ctx.step, ctx.ends = step, ((low - zero) * step, (high - zero) * step)
        ctx.offset, ctx.share = offset is not None, share
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, rounded = ctx.saved_tensors
        (gradient,) = gradients
        inside = torch.ops.aten.hardtanh_backward(gradient, x, *ctx.ends)
        of_scale = of_offset = None
        if ctx.needs_input_grad[1]:
            of_scale = (_dot(gradient, rounded) - _dot(inside, x)) * (ctx.share / ctx.step)
        if ctx.offset:  # beyond the ends the answer moves with the offset, and only there
            beyond = (gradient.sum() - inside.sum()) * ctx.share
            of_offset = beyond
            of_scale = None if of_scale is None else of_scale - beyond * (ctx.ends[0] / ctx.step)
        return inside, of_scale, None, of_offset, None, None, None


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Sum of the products; without a copy where both lie alike in memory."""
    if one.stride() == other.stride() and torch.ops.aten.is_non_overlapping_and_dense(one):
        return torch.dot(one.as_strided((one.numel(),), (1,)), other.as_strided((other.numel(),), (1,)))
    return (one * other).sum()
