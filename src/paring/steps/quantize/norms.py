"""Batch norm in a graph, as a part of the layer before it (Jacob et al. 2018, arXiv:1712.05877, section 3.2).

y = γ (W x + b − μ) / σ + β is a layer with the weight W γ/σ and the bias (b − μ) γ/σ + β. That holds where nothing else
reads the layer or its weight. Any other batch norm is a layer of its own: a depthwise 1 × 1 convolution with the weight
γ/σ, which every runtime computes on integers with a scale for each channel.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from paring.steps.quantize.nodes import arguments, assign, attribute, insert, store

aten = torch.ops.aten
# operator -> whether its weight's output channels lie on axis 1
FOLDING = {
    aten.conv1d.default: False, aten.conv1d.padding: False, aten.conv2d.default: False, aten.conv2d.padding: False,
    aten.conv3d.default: False, aten.conv3d.padding: False, aten.linear.default: False,
    aten.conv_transpose1d.default: True, aten.conv_transpose2d.input: True, aten.conv_transpose3d.input: True,
}  # fmt: skip


def fold_norms(graph: GraphModule) -> None:
    """Takes every batch norm out of a graph, in place; the tensors that come of it are new ones.

    One of a tensor with five axes behind no layer that takes it stays where it is.
    """
    gone = set[Node]()
    for norm in [node for node in graph.graph.nodes if _is_norm(node)]:
        if norm in gone:
            continue
        together = taken(norm)
        if together:
            _fold(graph, together)
        elif not _apart(graph, norm):
            continue
        for one in together or [norm]:
            gone.add(one)
            unread = one.args[1:5]
            graph.graph.erase_node(one)
            for stored in unread:
                if isinstance(stored, Node) and not stored.users:
                    graph.graph.erase_node(stored)
    graph.recompile()


def taken(norm: Node) -> list[Node]:
    """The norms that the layer before a norm takes up with it: itself, and one alike behind every other call.

    Returns:
        Nothing where the layer, or its weight, has another reader, or another norm behind another call.
    """
    if not _is_norm(norm) or arguments(norm)[0].target not in FOLDING:
        return []
    layer: Any = norm.args[0]
    weight, bias = layer.args[1], _bias(layer)
    if weight.op != "get_attr" or (bias is not None and bias.op != "get_attr"):
        return []
    found = []
    for call in weight.users:
        after = list(call.users)
        reads = call.target in FOLDING and [one for one in call.all_input_nodes if one is weight] == [weight]
        if not reads or call.args[1] is not weight or _bias(call) is not bias or call.args[3:] != layer.args[3:]:
            return []
        if len(after) != 1 or not _is_norm(after[0]) or after[0].args[0] is not call:
            return []
        if after[0].args[1:] != norm.args[1:] or not _same_axis(call):
            return []
        found.append(after[0])
    return found


def factor_and_offset(graph: GraphModule, norm: Node) -> tuple[Tensor, Tensor]:
    """(γ/σ, β − μ γ/σ) of a batch norm, for each channel."""
    gamma, beta, mean, variance = (_tensor(graph, one) for one in norm.args[1:5])
    factor = torch.rsqrt(variance + norm.args[7])
    factor = factor if gamma is None else gamma * factor
    return factor, -mean * factor if beta is None else beta - mean * factor


def _fold(graph: GraphModule, norms: Sequence[Node]) -> None:
    layers: list[Any] = [norm.args[0] for norm in norms]
    layer = layers[0]
    weight, bias = layer.args[1], _bias(layer)
    with torch.no_grad():
        factor, offset = factor_and_offset(graph, norms[0])
        tensor: Tensor = attribute(graph, weight)
        if FOLDING[layer.target]:  # channel g·n + j lies in the g-th part of axis 0, at place j of axis 1
            groups = layer.args[6] if len(layer.args) > 6 else 1
            scaled = tensor.reshape(groups, -1, *tensor.shape[1:]) * factor.reshape(
                groups, 1, -1, *[1] * (tensor.ndim - 2)
            )
            scaled = scaled.flatten(0, 1)
        else:
            scaled = tensor * factor.reshape(-1, *[1] * (tensor.ndim - 1))
        shift = offset if bias is None else attribute(graph, bias) * factor + offset
    learned = tensor.requires_grad
    assign(graph, weight.target, nn.Parameter(scaled, learned))
    if bias is not None and all(one in layers for one in bias.users):
        assign(graph, bias.target, nn.Parameter(shift, learned))
    else:
        bias = store(graph, f"{weight.target}_bias", nn.Parameter(shift, learned), before=weight)
    for call, norm in zip(layers, norms, strict=True):
        call.args = (*call.args[:2], bias, *call.args[3:])
        norm.replace_all_uses_with(call)


def _apart(graph: GraphModule, norm: Node) -> bool:
    """Puts a depthwise convolution in the place of a batch norm, if it has two to four axes."""
    source: Any = norm.args[0]
    axes = source.meta["val"].ndim
    if axes not in (2, 3, 4):
        return False
    with torch.no_grad():
        factor, offset = factor_and_offset(graph, norm)
    channels, space = len(factor), 1 if axes == 3 else 2
    path = str(arguments(norm)[3].target).removesuffix("running_mean")
    weight = nn.Parameter(factor.reshape(-1, 1, *[1] * space), requires_grad=False)
    stored = [
        store(graph, f"{path}factor", weight, before=norm),
        store(graph, f"{path}offset", nn.Parameter(offset, requires_grad=False), before=norm),
    ]

    def put(target: Any, *args: Any) -> Node:
        return insert(graph, target, args, before=norm, like=norm)

    for axis in range(axes, space + 2):
        source = put(aten.unsqueeze.default, source, axis)
    convolution = aten.conv1d.default if space == 1 else aten.conv2d.default
    found = put(convolution, source, *stored, [1] * space, [0] * space, [1] * space, channels)
    if axes == 2:
        found = put(aten.squeeze.dims, found, [2, 3])
    norm.replace_all_uses_with(found)
    return True


def _is_norm(node: Node) -> bool:
    if node.target is not aten.batch_norm.default or node.args[5] or node.args[3] is None:
        return False
    return all(one is None or getattr(one, "op", "") == "get_attr" for one in node.args[1:5])


def _bias(layer: Node) -> Any:
    return layer.args[2] if len(layer.args) > 2 else None


def _same_axis(layer: Node) -> bool:
    """Whether a layer's channels lie on the axis that batch norm takes for them; those of a linear one on the last."""
    return layer.target is not aten.linear.default or layer.meta["val"].ndim == 2


def _tensor(graph: GraphModule, node: Any) -> Any:
    return None if node is None else attribute(graph, node)
