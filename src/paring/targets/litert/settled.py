"""Stored numbers that are read with several scales, each stored with its own.

What a network computes from stored tensors alone, e.g. the sines of rotary embeddings, the converter quantizes where
it is stored, once for all readers: with the scale of one of them, and from that to those of the others.
"""

from operator import attrgetter
from typing import Any

import torch
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers quantized_decomposed
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

_QUANTIZE = torch.ops.quantized_decomposed.quantize_per_tensor.default
_DEQUANTIZE = torch.ops.quantized_decomposed.dequantize_per_tensor.default


def torn(graph: Graph, given: frozenset[str] = frozenset()) -> list[Node]:
    """The quantizing operators of what is settled, computed from a tensor that others quantize with another scale.

    Args:
        graph: for one sample.
        given: names of placeholders that are stored tensors, as an exported program has them; a module has attributes.
    """
    sources: dict[Node, set[Node]] = {}
    for node in graph.nodes:
        if node.op == "get_attr" or node.name in given:
            sources[node] = {node}
        elif node.op == "call_function" and all(one in sources for one in node.all_input_nodes):
            sources[node] = set().union(*(sources[one] for one in node.all_input_nodes))
    found = [node for node in sources if node.target is _QUANTIZE and node.args[0] in sources]
    scales: dict[Node, set[tuple[Any, ...]]] = {}
    for node in found:
        for source in sources[node]:
            scales.setdefault(source, set()).add(node.args[1:5])
    return [node for node in found if any(len(scales[source]) > 1 for source in sources[node])]


def store(module: GraphModule) -> None:
    """Gives each of these a stored tensor of its own, in place, on the grid of its scale so that no two are alike."""
    values: dict[Node, Any] = {}
    for number, node in enumerate(torn(module.graph)):
        with torch.no_grad():
            codes = _QUANTIZE(_value(module, node.args[0], values), *node.args[1:])
            rounded = _DEQUANTIZE(codes, *node.args[1:])
        name = f"settled_{number}"
        module.register_buffer(name, rounded)
        with module.graph.inserting_before(node):
            node.replace_input_with(node.args[0], module.graph.get_attr(name))  # type: ignore[arg-type]


def _value(module: GraphModule, node: Any, values: dict[Node, Any]) -> Any:
    if node not in values:
        if node.op == "get_attr":
            values[node] = attrgetter(str(node.target))(module).detach()
        else:
            args, kwargs = map_arg((node.args, node.kwargs), lambda one: _value(module, one, values))
            values[node] = node.target(*args, **kwargs)
    return values[node]
