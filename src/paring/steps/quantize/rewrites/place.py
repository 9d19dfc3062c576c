"""What the rewrites share: a place in a graph, and questions about the nodes there."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

aten = torch.ops.aten


class Place:
    """A place in a graph, before a node that is to be replaced."""

    def __init__(self, graph: GraphModule, node: Node) -> None:
        self.graph, self.node = graph, node

    def call(self, target: Any, *args: Any, **options: Any) -> Node:
        """An operator at this place, of the layer of the node that is replaced."""
        new = self.graph.graph.call_function(target, args, options)
        values: Any = map_arg((args, options), lambda one: one.meta["val"])
        new.meta = {**self.node.meta, "val": target(*values[0], **values[1])}
        return new

    def before(self, reader: Node) -> "Place":
        """A place before another node."""
        return Place(self.graph, reader)


Rule = Callable[..., Node | None]
"""Takes a place and the operator's arguments; gives what stands for the operator now, None where that is the operator.
"""


def shape(node: Node) -> tuple[Any, ...]:
    """Sizes, a free one as a symbol."""
    return tuple(node.meta["val"].shape)


def fixed(sizes: Sequence[Any]) -> bool:
    """Whether none of them is free."""
    return all(isinstance(size, int) for size in sizes)


def many(value: Any) -> list[Any]:
    """A number as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def viewed(here: Place, x: Node, sizes: Sequence[Any]) -> Node | None:
    """A view; of the sizes one may be free."""
    free = [place for place, size in enumerate(sizes) if not isinstance(size, int)]
    if len(free) > 1:
        return None
    return here.call(aten.reshape.default, x, [-1 if place in free else size for place, size in enumerate(sizes)])
