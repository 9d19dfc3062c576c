"""A quantized network's graph with its weights as the integers that a file holds."""

from typing import Any

import torch
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers quantized_decomposed
from torch.fx import GraphModule, Node

_QUANTIZE = {
    torch.ops.quantized_decomposed.quantize_per_tensor.default,
    torch.ops.quantized_decomposed.quantize_per_channel.default,
}


def fold_weights(graph: GraphModule) -> None:
    """Stores in int8, in place, what is a float constant and its quantization."""
    for node in list(graph.graph.nodes):
        if node.target not in _QUANTIZE or node.args[0].op != "get_attr":
            continue
        arguments = [_value(graph, one) if isinstance(one, Node) else one for one in node.args]
        name = f"{str(node.args[0].target).replace('.', '_')}_int8_{node.name}"
        graph.register_buffer(name, node.target(*arguments))
        with graph.graph.inserting_before(node):
            stored = graph.graph.get_attr(name)
        stored.meta = dict(node.meta)
        node.replace_all_uses_with(stored)
        graph.graph.erase_node(node)


def _value(graph: GraphModule, node: Node) -> torch.Tensor:
    found: Any = graph
    for part in str(node.target).split("."):
        found = getattr(found, part)
    value: torch.Tensor = found.detach()
    return value
