"""Factors: the ordinary layers that take the place of one, as data and as modules."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.model import Json

Layout = Mapping[str, Json]
"""A factor without its values: `layer`, the class in `torch.nn`, and the arguments of its constructor."""
Convolution = nn.Conv1d | nn.Conv2d
KINDS: Mapping[str, Any] = {"Linear": nn.Linear, "Conv1d": nn.Conv1d, "Conv2d": nn.Conv2d, "Embedding": nn.Embedding}
_CHANNELS_LAST = ("Linear", "Embedding")


@dataclass(frozen=True)
class Factor:
    """One of the layers that take the place of one.

    Attributes:
        layout: what it is.
        weight: as the layer holds it.
        bias: None where it has none.
    """

    layout: Layout
    weight: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What layers cost on paper, for one sample.

    Attributes:
        macs: multiply–accumulates.
        parameters: biases among them.
    """

    macs: int
    parameters: int


def linear(inputs: int, outputs: int, *, bias: bool) -> Layout:
    """A linear layer."""
    return {"layer": "Linear", "in_features": inputs, "out_features": outputs, "bias": bias}


def convolution(
    layer: Convolution, inputs: int, outputs: int, axes: Collection[int] = (), *, groups: int = 1, bias: bool = False
) -> Layout:
    """A part of a convolution: it has the layer's kernel, stride, padding and dilation along some axes of space.

    Along the others it sees one place. Padding before a factor without bias is padding of what the factor gives, so
    that parts along different axes follow one another.
    """
    place = range(len(layer.kernel_size))
    same = layer.padding if isinstance(layer.padding, str) else None
    own = {
        "kernel_size": [layer.kernel_size[axis] if axis in axes else 1 for axis in place],
        "stride": [layer.stride[axis] if axis in axes else 1 for axis in place],
        "padding": same or [int(layer.padding[axis]) if axis in axes else 0 for axis in place],
        "dilation": [layer.dilation[axis] if axis in axes else 1 for axis in place],
    }
    return {
        "layer": f"Conv{len(place)}d", "in_channels": inputs, "out_channels": outputs, **own, "groups": groups,
        "bias": bias, "padding_mode": layer.padding_mode,
    }  # fmt: skip


def chain(layouts: Sequence[Layout], *, meta: bool = False) -> nn.Sequential:
    """The layers, one after the other, in eval mode.

    Args:
        layouts: of each.
        meta: shapes alone, without memory; else every weight is 0.
    """
    parts = []
    for layout in layouts:
        given = {name: tuple(one) if isinstance(one, list) else one for name, one in layout.items() if name != "layer"}
        part = KINDS[layout["layer"]](**given, device="meta")  # draws no chance
        if not meta:
            part.to_empty(device="cpu")
            for parameter in part.parameters():
                nn.init.zeros_(parameter)
        parts.append(part)
    return nn.Sequential(*parts).eval()


def filled(factors: Sequence[Factor]) -> nn.Sequential:
    """As `chain`, with the factors' values: float32, each channel between two factors weighed alike in both."""
    found = chain([factor.layout for factor in factors])
    for part, weight, factor in zip(found, _balanced(factors), factors, strict=True):
        with torch.no_grad():
            part.get_parameter("weight").copy_(weight)
            if factor.bias is not None:
                part.get_parameter("bias").copy_(factor.bias)
    return found


def cost(layouts: Sequence[Layout], shapes: Sequence[Sequence[int]]) -> Cost:
    """Of layers, one after the other.

    Args:
        layouts: of each.
        shapes: of the tensors that the first reads.
    """
    layers, macs = chain(layouts, meta=True), 0
    for shape in shapes:
        x = torch.empty(tuple(shape), device="meta", dtype=torch.int64 if _looks_up(layouts) else torch.float32)
        for part, layout in zip(layers, layouts, strict=True):
            x = part(x)
            if layout["layer"] != "Embedding":
                channels = x.shape[-1 if layout["layer"] in _CHANNELS_LAST else 1]
                macs += x.numel() // channels * part.get_parameter("weight").numel()
    return Cost(macs, sum(one.numel() for one in layers.parameters()))


def widths(layouts: Sequence[Layout]) -> dict[str, list[int]]:
    """Tensor within the chain -> [axis, size] of the channels between it and the next."""
    found = {}
    for place, layout in enumerate(layouts[:-1]):
        if layout["layer"] == "Embedding":
            found[f"{place}.weight"] = [1, layout["embedding_dim"]]
        else:
            found[f"{place}.weight"] = [0, layout["out_features" if layout["layer"] == "Linear" else "out_channels"]]
    return found


def _looks_up(layouts: Sequence[Layout]) -> bool:
    return bool(layouts[0]["layer"] == "Embedding")


def _balanced(factors: Sequence[Factor]) -> list[Tensor]:
    """The weights, scaled channel by channel so that both sides of a channel have one norm.

    Training then moves both alike, and neither holds all of the singular values, which few bits would not.
    """
    weights = [factor.weight.clone() for factor in factors]
    for here, there in [*zip(range(len(weights)), range(1, len(weights)), strict=False)] * 2:
        gives, takes = weights[here], weights[there]
        giving = 1 if factors[here].layout["layer"] == "Embedding" else 0
        taking = 0 if factors[there].layout.get("groups", 1) > 1 else 1
        ratio = _norms(takes, taking) / _norms(gives, giving)
        scale = torch.where(torch.isfinite(ratio) & (ratio > 0), ratio.sqrt(), torch.ones_like(ratio))
        weights[here] = gives * _on(scale, giving, gives.ndim)
        weights[there] = takes / _on(scale, taking, takes.ndim)
    return weights


def _norms(tensor: Tensor, axis: int) -> Tensor:
    norms: Tensor = tensor.movedim(axis, 0).flatten(1).norm(dim=1)
    return norms


def _on(scale: Tensor, axis: int, dimensions: int) -> Tensor:
    return scale.reshape([-1 if one == axis else 1 for one in range(dimensions)])
