"""The blocks of a network: stretches of its graph that one tensor enters and one leaves."""

from dataclasses import dataclass

import torch
from torch.fx import GraphModule, Node

from paring.steps.quantize.annotate import WEIGHTED, fused_activation, layer_of

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


@dataclass(frozen=True)
class Block:
    """A stretch of a graph.

    Attributes:
        nodes: in the order of execution.
        layers: those of them with a weight.
    """

    nodes: tuple[Node, ...]
    layers: tuple[Node, ...]

    @property
    def last(self) -> Node:
        """What leaves the block."""
        return self.nodes[-1]


def blocks(graph: GraphModule) -> list[Block]:
    """The blocks of a float graph, together all of its layers.

    The smallest stretches come of the graph: a residual sum is never cut apart. Those of one module are then joined if
    a module of its class holds a stretch of several layers, so that a network's blocks without a sum (where the
    resolution changes) count as blocks like their neighbours.
    """
    found = _stretches(graph)
    kinds = {owner[1] for one in found if len(one.layers) > 1 and (owner := _common(one)) is not None}
    joined: list[Block] = []
    last: str | None = None
    for one in found:
        path = _owner(one, kinds)
        if path is not None and path == last:
            joined[-1] = Block(joined[-1].nodes + one.nodes, joined[-1].layers + one.layers)
        else:
            joined.append(one)
        last = path
    return joined


def _stretches(graph: GraphModule) -> list[Block]:
    nodes = [node for node in graph.graph.nodes if node.op != "output" and _is_data(node)]
    order = {node: index for index, node in enumerate(nodes)}
    order |= {node: len(nodes) for node in graph.graph.nodes if node.op == "output"}
    last_use = [
        max((order[user] for user in node.users if user in order), default=index) for index, node in enumerate(nodes)
    ]
    found: list[Block] = []
    held: list[Node] = []
    reach = 0  # the last node that uses anything before the current one
    for index, node in enumerate(nodes):
        reach = max([reach, *last_use[max(0, index - 1) : index]])
        if node.op == "placeholder":
            continue
        held.append(node)
        layers = tuple(one for one in held if one.target in WEIGHTED)
        if layers and reach <= index and fused_activation(node) is None:
            found.append(Block(tuple(held), layers))
            held = []
    layers = tuple(one for one in held if one.target in WEIGHTED)
    if layers:
        found.append(Block(tuple(held), layers))
    return found


def _is_data(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and node.op != "get_attr"


def _modules(node: Node) -> list[tuple[str, str]]:
    """(path, class) of the modules that a node was traced from, the outermost first; no containers, not the root."""
    layer = layer_of(node)
    found = []
    for path, kind in (node.meta.get("nn_module_stack") or {}).values():
        name = path.removeprefix("L['self']").removeprefix(".")
        if name and name != layer and not any(one in str(kind) for one in _CONTAINERS):
            found.append((name, str(kind)))
    return found


def _common(block: Block) -> tuple[str, str] | None:
    """The innermost module that holds all layers of the block."""
    shared = [one for one in _modules(block.layers[0]) if all(one in _modules(node) for node in block.layers)]
    return shared[-1] if shared else None


def _owner(block: Block, kinds: set[str]) -> str | None:
    owner = next((one for one in reversed(_modules(block.layers[0])) if one[1] in kinds), None)
    return owner[0] if owner and all(owner in _modules(node) for node in block.layers) else None
