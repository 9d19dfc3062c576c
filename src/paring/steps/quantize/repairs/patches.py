"""A layer as a matrix product, at some positions of its output: what it sees there, and its weight as a matrix.

With x the patches and w the weight, the layer's output is x @ wᵀ, group by group.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.nn import functional

aten = torch.ops.aten
SUPPORTED = {aten.linear.default, aten.conv1d.default, aten.conv2d.default, aten.conv2d.padding}


def groups_of(node: Node) -> int:
    """Of the layer; 1 for one that has none."""
    given: Any = node.args[6] if len(node.args) > 6 else 1
    return int(given)


def matrix(weight: Tensor, groups: int) -> Tensor:
    """The weight, shape (groups, outputs of a group, inputs of an output)."""
    return weight.flatten(1).reshape(groups, weight.shape[0] // groups, -1)


def positions(node: Node, inputs: Sequence[Tensor], count: int, generator: torch.Generator) -> list[Tensor]:
    """Positions in the layer's output, drawn evenly: for each batch, indices into its flattened samples and places.

    All of them, where there are fewer than wanted.
    """
    places = [_places(node, one) for one in inputs]
    wanted = min(count, sum(places))
    drawn = torch.randperm(sum(places), generator=generator)[:wanted].sort().values
    starts = [sum(places[:index]) for index in range(len(places))]
    return [
        drawn[(drawn >= first) & (drawn < first + held)] - first for first, held in zip(starts, places, strict=True)
    ]


def patches(node: Node, inputs: Sequence[Tensor], at: Sequence[Tensor]) -> Tensor:
    """What the layer sees at these positions, shape (groups, positions, inputs of an output).

    Args:
        node: the layer, one of `SUPPORTED`.
        inputs: of the layer, batch by batch.
        at: as `positions` gives them.
    """
    rows = [_rows(node, one, chosen) for one, chosen in zip(inputs, at, strict=True)]
    found, groups = torch.cat(rows), groups_of(node)
    return found.reshape(len(found), groups, -1).transpose(0, 1).contiguous()


def _places(node: Node, x: Tensor) -> int:
    if node.target is aten.linear.default:
        return x.numel() // x.shape[-1]
    height, width = _size(node, x)
    return x.shape[0] * height * width


def _size(node: Node, x: Tensor) -> tuple[int, int]:
    """Height and width of a convolution's output."""
    (kernel, stride, pads, dilation), (height, width) = _geometry(node), _image(x).shape[2:]
    found = [
        (length + low + high - spread * (extent - 1) - 1) // step + 1
        for length, (low, high), extent, step, spread in zip(
            (height, width), pads, kernel, stride, dilation, strict=True
        )
    ]
    return found[0], found[1]


def _rows(node: Node, x: Tensor, at: Tensor) -> Tensor:
    if node.target is aten.linear.default:
        return x.reshape(-1, x.shape[-1])[at]
    (kernel, stride, pads, dilation), (height, width) = _geometry(node), _size(node, x)
    padded = functional.pad(_image(x), (*pads[1], *pads[0]))
    sample, row, column = at // (height * width), at % (height * width) // width, at % width
    rows = row[:, None] * stride[0] + torch.arange(kernel[0]) * dilation[0]
    columns = column[:, None] * stride[1] + torch.arange(kernel[1]) * dilation[1]
    found = padded[sample[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # channels last
    return found.permute(0, 3, 1, 2).flatten(1)


def _image(x: Tensor) -> Tensor:
    return x[:, :, None] if x.ndim == 3 else x


def _geometry(node: Node) -> tuple[Any, Any, list[tuple[int, int]], Any]:
    """(kernel, stride, (before, behind) padding, dilation), each of rows and columns."""
    weight: Any = node.args[1]
    shape = tuple(weight.meta["val"].shape)[2:] if "val" in weight.meta else None
    if shape is None:  # behind an observer
        shape = tuple(weight.args[0].meta["val"].shape)[2:]
    dimensions = len(shape)
    stride, padding, dilation = (
        _each(node.args[place] if len(node.args) > place else usual, dimensions)
        for place, usual in ((3, 1), (4, 0), (5, 1))
    )
    if padding == ("same",) * dimensions:
        whole = [spread * (extent - 1) for spread, extent in zip(dilation, shape, strict=True)]
        pads = [(one // 2, one - one // 2) for one in whole]
    elif padding == ("valid",) * dimensions:
        pads = [(0, 0)] * dimensions
    else:
        pads = [(one, one) for one in padding]
    if dimensions == 1:
        return (1, *shape), (1, *stride), [(0, 0), *pads], (1, *dilation)
    return shape, stride, pads, dilation


def _each(value: Any, dimensions: int) -> tuple[Any, ...]:
    if isinstance(value, list | tuple):
        return tuple(value) * (dimensions if len(value) == 1 else 1)
    return (value,) * dimensions
