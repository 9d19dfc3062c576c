"""Convolutions with any options, and what they read, for properties that hold for all of them."""

from collections.abc import Mapping
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from paring.steps.factorize.low_rank.metric import Metric
from paring.steps.factorize.low_rank.moments import patches

_SIZES = st.integers(1, 3)
LAYERS = st.fixed_dictionaries(
    {
        "kernel": st.one_of(st.tuples(_SIZES), st.tuples(_SIZES, _SIZES)),
        "stride": st.integers(1, 2),
        "padding": st.one_of(st.integers(0, 2), st.sampled_from(["same", "valid"])),
        "dilation": st.integers(1, 2),
        "mode": st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
        "bias": st.booleans(),
        "seed": st.integers(0, 9),
    }
)
"""Options of a convolution of one or two dimensions."""


def drawn_layer(options: Mapping[str, Any]) -> tuple[nn.Conv1d | nn.Conv2d, Tensor]:
    """A convolution from 4 to 6 channels, and two samples whose channels depend on each other."""
    given = {"stride": 1, "padding": 1, "dilation": 1, "mode": "zeros", "bias": True, "seed": 0, **options}
    chance = torch.Generator().manual_seed(given["seed"])
    kernel = tuple(given["kernel"])
    kind: type[nn.Conv1d | nn.Conv2d] = nn.Conv1d if len(kernel) == 1 else nn.Conv2d
    layer = kind(
        4, 6, kernel, 1 if given["padding"] == "same" else given["stride"], given["padding"], given["dilation"],
        bias=given["bias"], padding_mode=given["mode"],
    )  # fmt: skip
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=chance))
    mix = torch.randn(4, 4, generator=chance) * torch.tensor([1.0, 0.5, 0.1, 0.01])
    x = torch.randn(2, *[9] * len(kernel), 4, generator=chance) @ mix.T
    return layer.eval(), x.movedim(-1, 1).contiguous()


def metric_of(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Metric:
    """The second moments of what a convolution reads, next to undamped."""
    rows = patches(layer, x).double()
    places = layer.weight[0, 0].numel()
    moments = rows.T @ rows / len(rows)
    moments += 1e-9 * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
    inputs = layer.in_channels
    channels = moments.reshape(inputs, places, inputs, places).diagonal(dim1=1, dim2=3).sum(-1) / places
    return Metric(moments, channels)
