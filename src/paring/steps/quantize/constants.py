"""What a network computes from its parameters alone is a stored tensor: weight norm, standardized weights.

A layer whose weight is computed at each inference can be given no scale; at inference the weight is a constant.
"""

import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from paring.steps.quantize.nodes import arguments, attribute, store
from paring.steps.quantize.norms import FOLDING

aten = torch.ops.aten
# operator -> places of what is a constant at inference, however it comes about
_STORED = {**dict.fromkeys(FOLDING, (1, 2)), aten.batch_norm.default: (1, 2, 3, 4)}


def fold_constants(graph: GraphModule) -> None:
    """Stores, in place, what is computed from parameters alone, and weights that are computed from stored tensors.

    What is larger than all that it is made of stays, as an expansion would, unless it is a weight.
    """
    constant: dict[Node, set[Node]] = {}  # what has no other source than stored tensors -> those
    for node in graph.graph.nodes:
        if node.op == "get_attr" and isinstance(attribute(graph, node), Tensor):
            constant[node] = {node}
        elif node.op == "call_function" and _settled(node) and all(one in constant for one in node.all_input_nodes):
            constant[node] = set().union(*(constant[one] for one in node.all_input_nodes))
    values: dict[Node, Any] = {}
    for node, sources in constant.items():
        readers = [one for one in node.users if one not in constant]
        if node.op == "get_attr" or not readers or not isinstance(node.meta.get("val"), Tensor):
            continue
        tensors = [attribute(graph, one) for one in sources]
        small = node.meta["val"].numel() <= sum(one.numel() for one in tensors)
        if not (_weight(node, readers) or (small and any(isinstance(one, nn.Parameter) for one in tensors))):
            continue
        with torch.no_grad():
            value = _value(graph, node, values).detach().clone().contiguous()
        if value.is_floating_point():
            value = nn.Parameter(value, any(one.requires_grad for one in tensors))
        node.replace_all_uses_with(store(graph, f"constant_{node.name}", value, before=node))
    for node in reversed(list(constant)):
        if not node.users:
            graph.graph.erase_node(node)
    graph.recompile()


def _settled(node: Node) -> bool:
    """Whether an operator gives the same for the same, in a size that is known, and writes nothing."""
    target: Any = node.target
    value = node.meta.get("val")
    if isinstance(value, Tensor) and any(isinstance(size, torch.SymInt) for size in value.shape):
        return False
    if not isinstance(target, torch._ops.OpOverload):
        return target is operator.getitem
    return not target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in target.tags


def _weight(node: Node, readers: list[Node]) -> bool:
    return any(
        place < len(reader.args) and arguments(reader)[place] is node
        for reader in readers
        for place in _STORED.get(reader.target, ())  # type: ignore[call-overload]
    )


def _value(graph: GraphModule, node: Node, values: dict[Node, Any]) -> Any:
    if node not in values:
        if node.op == "get_attr":
            values[node] = attribute(graph, node)
        else:
            args, kwargs = map_arg((node.args, node.kwargs), lambda one: _value(graph, one, values))
            values[node] = node.target(*args, **kwargs)  # type: ignore[operator]
    return values[node]
