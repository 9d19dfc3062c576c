"""Parts of a network that run under `torch.no_grad` or without autocast, as parts of the one graph.

`torch.export` keeps each in a graph of its own, whose operators nothing else sees: rotary position embeddings of most
language models are such a part, and constants at inference.
"""

import operator
from typing import Any

import torch
from torch import fx
from torch.fx import GraphModule, Node

_GRADIENTS = torch.ops.higher_order.wrap_with_set_grad_enabled
_AUTOCAST = torch.ops.higher_order.wrap_with_autocast


def inline(graph: GraphModule) -> GraphModule:
    """Puts the operators of inner graphs in the place of their calls; those under autocast stay. Gives the graph."""
    found = [(node, called) for node in graph.graph.nodes if (called := _called(node)) is not None]
    for node, (inner, given) in found:
        part: Any = graph.get_submodule(str(inner.target))
        inline(part)
        _replace(graph, node, part, given)
        if not inner.users:
            graph.graph.erase_node(inner)
    if found:
        graph.recompile()
    return graph


def _called(node: Node) -> tuple[Node, tuple[Any, ...]] | None:
    """The inner graph that a node calls, and what it is given; None where it calls none that may be inlined."""
    if node.target is _GRADIENTS:
        _, inner, *given = node.args
    elif node.target is _AUTOCAST and node.args[2] is False:
        _, _, _, _, inner, *given = node.args
    else:
        return None
    return (inner, tuple(given)) if isinstance(inner, Node) else None


def _replace(graph: GraphModule, node: Node, part: GraphModule, given: tuple[Any, ...]) -> None:
    inputs = [one for one in part.graph.nodes if one.op == "placeholder"]
    values: dict[Node, Any] = dict(zip(inputs, given, strict=True))
    found: Any = None
    with graph.graph.inserting_before(node):
        for one in part.graph.nodes:
            if one.op == "output":
                found = fx.node.map_arg(one.args[0], values.__getitem__)
            elif one.op == "get_attr":
                values[one] = _attribute(graph, part, str(one.target))
                values[one].meta = dict(one.meta)
            elif one not in values:
                values[one] = graph.graph.node_copy(one, values.__getitem__)
    for reader in list(node.users):
        if reader.target is not operator.getitem:
            continue
        reader.replace_all_uses_with(found[reader.args[1]])
        graph.graph.erase_node(reader)
    if node.users and isinstance(found, Node):
        node.replace_all_uses_with(found)
    graph.graph.erase_node(node)


def _attribute(graph: GraphModule, part: GraphModule, target: str) -> Node:
    """What an inner graph stores, stored by the outer one."""
    number = 0
    while hasattr(graph, name := f"_inlined_{number}"):
        number += 1
    held = operator.attrgetter(target)(part)
    if isinstance(held, torch.nn.Module | torch.nn.Parameter):
        setattr(graph, name, held)
    else:
        graph.register_buffer(name, held)
    return graph.graph.get_attr(name)
