"""Layers with weights, which PyTorch's quantized kernels take packed."""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from paring.targets.torchmobile.kernels import FLOATS, Call, Scale, aten, codes_of, kernels

# operator on floats -> how its weights are packed, its kernel, the same with ReLU
_LAYERS: dict[Any, tuple[Any, Any, Any]] = {
    aten.conv1d.default: (kernels.conv1d_prepack, kernels.conv1d.default, kernels.conv1d_relu.default),
    aten.conv2d.default: (kernels.conv2d_prepack, kernels.conv2d.new, kernels.conv2d_relu.new),
    aten.linear.default: (kernels.linear_prepack, kernels.linear.default, kernels.linear_relu.default),
}


def layer_for(graph: GraphModule, source: Node, scale: Scale, relu: bool) -> Call | None:
    """What computes a convolution or linear layer on the codes of its input; None for all else.

    Args:
        graph: gets the packed weights.
        source: the operator on floats.
        scale: of the codes that it is to give.
        relu: whether its values are to end at 0.
    """
    if source.target not in _LAYERS or source.kwargs:
        return None
    prepack, kernel, with_relu = _LAYERS[source.target]
    values, weights, *others = source.args
    given, weight, bias = codes_of(values), constant(graph, weights), constant(graph, others[0] if others else None)
    if given is None or weight is None or not weight.is_quantized or (bias is None and any(others[:1])):
        return None
    options: list[Any] = []
    if source.target is not aten.linear.default:
        around = weight.dim() - 2
        defaults = [[1] * around, [0] * around, [1] * around, 1]
        options = [*others[1:], *defaults[len(others[1:]) :]]
        options[:3] = [list(one) * around if len(one) == 1 else list(one) for one in options[:3]]
    packed = pack(graph, prepack(weight, bias, *options), source.name)
    return with_relu if relu else kernel, (given, packed, *scale)


def constant(graph: GraphModule, value: Any) -> torch.Tensor | None:
    """The tensor that a node stands for, quantized where it is one of codes; None if it is computed, or no node."""
    if not isinstance(value, Node):
        return None
    if value.target is FLOATS:
        (value,) = value.all_input_nodes
    if value.op != "get_attr":
        return None
    found: Any = graph
    for part in str(value.target).split("."):
        found = getattr(found, part)
    tensor: torch.Tensor = found.detach()
    return tensor


def pack(graph: GraphModule, packed: Any, name: str) -> Node:
    """Puts the packed weights of a layer into the graph."""
    setattr(graph, f"{name}_packed", packed)
    return graph.graph.get_attr(f"{name}_packed")
