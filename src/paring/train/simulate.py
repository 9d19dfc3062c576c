"""A quantized graph in a form that PyTorch runs faster, with the same values: for evaluation only."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from paring.core.quiet import quiet

decomposed = torch.ops.quantized_decomposed


def evaluated(module: nn.Module) -> nn.Module:
    """A copy to evaluate: images channels-last, weights rounded once, each quantize–dequantize pair one operator.

    A module without quantized tensors is only laid out anew. The original is untouched.
    """
    with quiet():  # torch warns of its own calls when it copies a graph
        fast = copy.deepcopy(module)
    if isinstance(fast, GraphModule):
        _fuse(fast)
    for parameter in [*fast.parameters(), *fast.buffers()]:
        parameter.data = laid_out(parameter.data)
    return fast


def laid_out(tensor: Tensor) -> Tensor:
    """An image, or a weight that acts on images, with its channels last in memory: kernels are faster on it."""
    # `contiguous` would leave an image of one channel as it is, and the kernels would take it for channels-first
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def rounded(x: Tensor, scale: float, zero_point: int, smallest: int, largest: int) -> Tensor:
    """dequantize(quantize(x)): S · clamp(round(x / S), q_min − Z, q_max − Z), in place after the first product."""
    return x.mul(1.0 / scale).round_().clamp_(smallest - zero_point, largest - zero_point).mul_(scale)


def _fuse(graph: GraphModule) -> None:
    for node in list(graph.graph.nodes):
        if node.target is decomposed.dequantize_per_tensor.default:
            _one_operator(graph, node)
        elif node.target is decomposed.dequantize_per_channel.default:
            _constant(graph, node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _one_operator(graph: GraphModule, node: Node) -> None:
    """dequantize(quantize(x)) of an activation."""
    pair = node.args[0]
    if not isinstance(pair, Node) or pair.target is not decomposed.quantize_per_tensor.default:
        return
    with graph.graph.inserting_before(node):
        fake = graph.graph.call_function(rounded, pair.args[:5])
    node.replace_all_uses_with(fake)


def _constant(graph: GraphModule, node: Node) -> None:
    """dequantize(quantize(w)) of a stored weight."""
    pair = node.args[0]
    if not isinstance(pair, Node) or pair.target is not decomposed.quantize_per_channel.default:
        return
    stored = [_value(graph, argument) for argument in pair.args[:3]]
    if any(value is None for value in stored):
        return
    codes = decomposed.quantize_per_channel.default(*stored, *pair.args[3:])
    values = decomposed.dequantize_per_channel.default(codes, *stored[1:], *node.args[3:])
    name = f"_evaluated_{node.name}"
    graph.register_buffer(name, values)
    with graph.graph.inserting_before(node):
        node.replace_all_uses_with(graph.graph.get_attr(name))


def _value(graph: GraphModule, argument: Any) -> Any:
    if not isinstance(argument, Node) or argument.op != "get_attr":
        return None
    found: Any = graph
    for part in str(argument.target).split("."):
        found = getattr(found, part)
    return found.detach()
