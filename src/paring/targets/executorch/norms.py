"""Batch norm at inference, y = a x + b for each channel: folded into the layer before it, or a layer of its own.

ExecuTorch folds norms by itself, into tensors whose names two calls of one convolution share: the last norm would count
for both. So none is left to it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

aten = torch.ops.aten

_NORM = aten.batch_norm.default
_TRANSPOSED = aten.conv_transpose2d.input
_LAYERS = {aten.conv1d.default, aten.conv2d.default, aten.conv2d.padding, aten.linear.default, _TRANSPOSED}
_IMAGE = 4  # dimensions


def settle(graph: GraphModule) -> None:
    """Takes every batch norm out of a graph, in place; the answers stay.

    A norm that alone reads its layer is folded into it, unless another call of the layer goes another way: then one
    weight could not serve both. What is not folded becomes a depthwise convolution with one weight for each channel, or
    a product and a sum where it is given no image.
    """
    norms = [node for node in graph.graph.nodes if node.target is _NORM and node.args[3] is not None]
    foldable = {norm: _foldable(norm) for norm in norms}
    folded: dict[Any, tuple[Node, Node]] = {}  # of each weight
    for norm in norms:
        values: Any = norm.args[0]
        factor, shift = _line(graph, norm)
        if foldable[norm]:
            key = values.args[1].target
            if key not in folded:
                folded[key] = _folded(graph, values, factor, shift, norm.name)
            values.args = (values.args[0], *folded[key], *values.args[3:])
            norm.replace_all_uses_with(values)
        else:
            norm.replace_all_uses_with(_layer(graph, norm, factor, shift))
        graph.graph.erase_node(norm)


def _foldable(norm: Node) -> bool:
    layer: Any = norm.args[0]
    if layer.target not in _LAYERS or layer.args[1].op != "get_attr":
        return False
    name, (weight, bias) = layer.args[1].target, [*layer.args[1:3], None][:2]
    if layer.target is aten.linear.default and layer.meta["val"].dim() > 2:  # its channels are not the norm's
        return False
    readers = [
        user for node in norm.graph.nodes if node.op == "get_attr" and node.target == name for user in node.users
    ]
    return (bias is None or bias.op == "get_attr") and all(
        [*one.args[1:3], None][:2] == [weight, bias]
        and [(user.target, user.args[1:]) for user in one.users] == [(_NORM, norm.args[1:])]
        for one in readers
    )


def _line(graph: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """Factor and shift of each channel, in float64."""
    mean, variance = (_value(graph, one).double() for one in norm.args[3:5])
    weight, bias = (None if one is None else _value(graph, one).double() for one in norm.args[1:3])
    epsilon: Any = norm.args[7]
    factor = torch.rsqrt(variance + epsilon)
    factor = factor if weight is None else factor * weight
    shift = -mean * factor
    return factor, shift if bias is None else shift + bias


def _folded(graph: GraphModule, layer: Node, factor: Tensor, shift: Tensor, name: str) -> tuple[Node, Node]:
    """Weight and bias of a layer with the norm behind it."""
    weight, bias = _value(graph, layer.args[1]).double(), layer.args[2] if len(layer.args) > 2 else None
    if layer.target is _TRANSPOSED:  # (inputs, outputs of a group, …)
        groups: Any = layer.args[6] if len(layer.args) > 6 else 1
        parts = weight.reshape(groups, -1, *weight.shape[1:])
        weight = (parts * factor.view(groups, 1, -1, *[1] * (weight.dim() - 2))).flatten(0, 1)
    else:
        weight = weight * factor.view(-1, *[1] * (weight.dim() - 1))
    shift = shift if bias is None else shift + factor * _value(graph, bias).double()
    first = next(iter(graph.graph.nodes))
    return _stored(graph, f"{name}_weight", weight, first), _stored(graph, f"{name}_bias", shift, first)


def _layer(graph: GraphModule, norm: Node, factor: Tensor, shift: Tensor) -> Node:
    """What computes a norm that no layer can take."""
    values: Any = norm.args[0]
    rank, channels, new = values.meta["val"].dim(), len(factor), graph.graph
    around = [channels, *[1] * (max(rank, 2) - 2)]
    if rank == _IMAGE:
        weight, bias = factor.view(channels, 1, 1, 1), shift
    else:
        weight, bias = factor.view(around), shift.view(around)
    with new.inserting_before(norm):
        held = [_stored(graph, f"{norm.name}_{what}", one, norm) for what, one in (("weight", weight), ("bias", bias))]
        if rank == _IMAGE:
            ones, zeros = [1, 1], [0, 0]
            made = new.call_function(aten.conv2d.default, (values, *held, ones, zeros, ones, channels))
        else:
            made = new.call_function(aten.add.Tensor, (new.call_function(aten.mul.Tensor, (values, held[0])), held[1]))
    made.meta = dict(norm.meta)
    return made


def _stored(graph: GraphModule, name: str, tensor: Tensor, before: Node) -> Node:
    graph.register_parameter(name, nn.Parameter(tensor.float().contiguous(), requires_grad=False))
    with graph.graph.inserting_before(before):
        return graph.graph.get_attr(name)


def _value(graph: GraphModule, node: Any) -> Tensor:
    found: Any = graph
    for part in str(node.target).split("."):
        found = getattr(found, part)
    tensor: Tensor = found.detach()
    return tensor
