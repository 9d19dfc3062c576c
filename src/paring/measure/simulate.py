"""A quantized graph in a form that PyTorch runs faster, with the same values: for evaluation only."""

import copy
from typing import Any

import torch
from torch import nn
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
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return fast


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
        fake = graph.graph.call_function(torch.fake_quantize_per_tensor_affine, pair.args[:5])
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
