"""Why a layer loses by rounding, in plain words, and the next thing to try."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Where a fact is so far from the ordinary that it is named. Chosen on networks that were spoiled on purpose.
_CLIPPED = 1e-3  # share of values outside the range, in a well calibrated layer some in a hundred thousand
_CHANNELS = 8.0  # times that the largest channel exceeds the median one
_TAIL = 4.0  # times that the range exceeds what 99.9 % of the values need
_WEIGHT = 30.0  # dB: where rounding a weight leaves less, it is heard in the answers
_ACTIVATION = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a layer's rounding.

    Attributes:
        kind: `conv`, `depthwise` or `linear`.
        bits: of its weight.
        granularity: of its weight's scales, `channel` or `tensor`.
        bounded: whether an activation of limited range follows (ReLU6, sigmoid, …).
        weight: SQNR of its rounded weight, dB.
        activation: SQNR of its rounded output, dB.
        weight_channels: largest range of a channel of its weight over the median one.
        output_channels: largest magnitude of a channel of its output over the median one.
        worst_channel: the channel of that output.
        tail: range of the output over what 99.9 % of the values need.
        clipped: share of the output's values outside the calibrated range.
    """

    kind: str
    bits: int
    granularity: str
    bounded: bool
    weight: float
    activation: float
    weight_channels: float
    output_channels: float
    worst_channel: int
    tail: float
    clipped: float


def cause(facts: Facts) -> tuple[str, str]:
    """(the likely cause, the next thing to try)."""
    return next((told(facts), remedy) for holds, told, remedy in _CAUSES if holds(facts))


def _weight_loses(facts: Facts) -> bool:
    return facts.weight < _WEIGHT and facts.weight < facts.activation


def _activation_loses(facts: Facts) -> bool:
    return facts.activation < _ACTIVATION


# (where it is the cause, in words, the next thing to try); the first that holds counts
_CAUSES: tuple[tuple[Callable[[Facts], bool], Callable[[Facts], str], str], ...] = (
    (
        lambda facts: facts.granularity == "tensor" and facts.weight_channels > _CHANNELS,
        lambda facts: f"one scale for a {facts.kind} weight whose channels differ {facts.weight_channels:.0f}-fold",
        "granularity: channel",
    ),
    (
        lambda facts: facts.clipped > _CLIPPED,
        lambda facts: f"{100 * facts.clipped:.2g} % of its values lie outside the range that calibration found",
        "more calibration samples, or calibration: {method: minmax}",
    ),
    (
        lambda facts: _weight_loses(facts) and facts.bits == 4,
        lambda facts: f"4 bits are few for its weight ({facts.weight:.0f} dB)",
        "repairs: [adaround], or 8 bits for it (layers)",
    ),
    (
        _weight_loses,
        lambda facts: f"its weight loses most ({facts.weight:.0f} dB)",
        "repairs: [equalize, adaround], or keep_float",
    ),
    (
        lambda facts: _activation_loses(facts) and facts.output_channels > _CHANNELS,
        lambda facts: f"outlier channel: {facts.worst_channel} reaches {facts.output_channels:.0f} times the others",
        "repairs: [equalize]",
    ),
    (
        lambda facts: _activation_loses(facts) and facts.tail > _TAIL,
        lambda facts: f"range too wide: {facts.tail:.0f} times what 99.9 % of its values need",
        "calibration: {method: mse} or percentile",
    ),
    (
        lambda facts: _activation_loses(facts) and not facts.bounded,
        lambda facts: "no activation bounds its output, which spreads the range",
        "activations: int16 for it (layers), or keep_float",
    ),
    (
        lambda facts: True,
        lambda facts: "nothing stands out in this layer by itself",
        "keep_float, or quantize.qat for the network",
    ),
)


def output_facts(values: Tensor, low: float, high: float, scale: float) -> dict[str, Any]:
    """What a layer's output shows.

    Args:
        values: float32, channels on axis 1 where it is an image, else last.
        low: smallest value that its codes reach.
        high: largest.
        scale: of a code.
    """
    channels = values.movedim(1 if values.ndim == 4 else -1, 0).flatten(1)
    reach = channels.abs().amax(1)
    flat = values.flatten()
    magnitude = flat.abs()
    rank = max(1, int(0.999 * magnitude.numel()))
    common = magnitude.kthvalue(rank).values.clamp_min(1e-12)
    rounded = ((flat.clamp(low, high) - low) / scale).round() * scale + low
    return {
        "activation": decibels(flat, rounded),
        "output_channels": float(reach.max() / reach.median().clamp_min(1e-12)),
        "worst_channel": int(reach.argmax()),
        "tail": max(abs(low), abs(high)) / float(common),
        "clipped": float(((flat < low - scale) | (flat > high + scale)).float().mean()),
    }


def weight_facts(weight: Tensor, rounded: Tensor, axis: int) -> dict[str, Any]:
    """What a layer's weight shows; `axis` is that of its output channels."""
    reach = weight.movedim(axis, 0).flatten(1).abs().amax(1)
    return {
        "weight": decibels(weight, rounded),
        "weight_channels": float(reach.max() / reach.median().clamp_min(1e-12)),
    }


def decibels(wanted: Tensor, found: Tensor) -> float:
    """SQNR, at most 120 dB."""
    noise = (wanted.double() - found.double()).square().sum()
    ratio = wanted.double().square().sum() / noise.clamp_min(1e-30)
    return float(10 * torch.log10(ratio.clamp(1e-12, 1e12)))
