"""The float and the quantized network side by side, layer after layer, with all samples at once.

What a repair changes in one layer is seen by the layers behind it, and no layer is computed twice: the walk holds the
values that are still needed, of every sample (for an image classifier, the largest feature map of both networks).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from paring.steps.quantize.annotate import fused_activation
from paring.steps.quantize.graph import Weighted, weighted
from paring.steps.quantize.observers import KnownScales
from paring.steps.quantize.repairs import Work

Rounding = Callable[[Node, KnownScales, Tensor], Tensor]


def rounded(_: Node, scales: KnownScales, x: Tensor) -> Tensor:
    """What the converted graph does at an observer."""
    return scales.rounded(x)


class Execution:
    """A graph executed node by node, for several batches.

    Known scales round where they stand, so that a prepared graph computes what the converted one will.
    """

    def __init__(self, graph: GraphModule, batches: Iterable[tuple[Tensor, ...]]) -> None:
        self.graph = graph
        self._fed = list(batches)
        self._todo = [node for node in graph.graph.nodes if node.op != "output"]
        self._values: dict[Node, list[Any]] = {}
        self._stored: set[Node] = set()
        self._left: dict[Node, int] = {}
        self.done: set[Node] = set()
        places = iter(range(len(self._todo)))
        for node in self._todo:
            self._left[node] = len(node.users)
            if node.op == "placeholder":
                place = next(places)
                self._values[node] = [batch[place] for batch in self._fed]
            elif node.op == "get_attr" or (node.args and all(one in self._stored for one in node.all_input_nodes)):
                self._stored.add(node)  # weights and what is made of them alone: read when used, as repairs change them
        self._todo = [node for node in self._todo if node.op != "placeholder" and node not in self._stored]

    def before(self, node: Node) -> list[Node]:
        """Executes all that comes before `node`, and returns it; each of its inputs has a value then."""
        done = []
        while self._todo[0] is not node:
            done.append(self.step())
        return done

    def through(self, node: Node) -> list[Tensor]:
        """Executes up to `node` and returns its value, batch by batch."""
        self.before(node)
        self.step()
        return self.value(node)

    def step(self) -> Node:
        """Executes the next node for all batches, and drops what nothing needs any more."""
        node: Node = self._todo.pop(0)
        with torch.no_grad():
            self._values[node] = [self.compute(node, index) for index in range(len(self._fed))]
        for source in node.all_input_nodes:
            self._left[source] -= 1
            if not self._left[source] and source not in self._stored:
                self._values.pop(source, None)
        self.done.add(node)
        return node

    def value(self, node: Node) -> list[Any]:
        """What the node gave, batch by batch."""
        return self._values[node]

    def stored(self, node: Node, rounding: Rounding = rounded) -> Any:
        """The value of a parameter, or of what is made of parameters alone."""
        return self.evaluate(node, lambda one: self.stored(one, rounding), rounding)

    def compute(self, node: Node, index: int) -> Any:
        """The value of a node for one batch, from the values of its inputs."""
        return self.evaluate(node, lambda one: self.stored(one) if one in self._stored else self._values[one][index])

    def is_stored(self, node: Node) -> bool:
        """Whether the node depends on parameters alone."""
        return node in self._stored

    def evaluate(self, node: Node, value: Callable[[Node], Any], rounding: Rounding = rounded) -> Any:
        """The value of a node from those of its inputs."""
        if node.op == "get_attr":
            return _attribute(self.graph, str(node.target))
        args: Any = map_arg(node.args, value)
        kwargs: Any = map_arg(node.kwargs, value)
        if node.op == "call_function":
            return node.target(*args, **kwargs)  # type: ignore[operator]
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        module = self.graph.get_submodule(str(node.target))
        return rounding(node, module, args[0]) if isinstance(module, KnownScales) else module(*args, **kwargs)


@dataclass(frozen=True)
class Place:
    """A layer that the walk has reached, in both networks.

    Attributes:
        layer: in the quantized network.
        reference: the same operator in the float network.
        activation: the activation behind it, which its kernel applies; None where there is none.
    """

    layer: Weighted
    reference: Weighted
    activation: Node | None


class Walk:
    """Both networks, from layer to layer."""

    def __init__(self, work: Work, size: int = 32) -> None:
        self.quantized = Execution(work.graph, work.batches(size))
        self.float = Execution(work.folded, work.batches(size))
        references = {one.node.name: one for one in weighted(work.folded)}
        layers = weighted(work.graph)
        paths = [one.weight for one in layers]
        self.places = [
            Place(one, references[one.node.name], fused_activation(references[one.node.name].node))
            for one in layers
            if paths.count(one.weight) == 1  # what two layers share cannot be made right for one of them
        ]

    def __iter__(self) -> Iterator[Place]:
        """The layers in the order of execution; of each, the inputs have values in both networks."""
        for place in self.places:
            self.quantized.before(place.layer.node)
            self.float.before(place.reference.node)
            yield place

    def scales(self, layer: Weighted) -> KnownScales:
        """Of the layer's weight, which must not stay in float."""
        found: Any = self.quantized.graph.get_submodule(str(layer.observer))
        known: KnownScales = found
        return known


def parameter(graph: GraphModule, path: str | None) -> Tensor | None:
    """A weight or a bias by its path."""
    return None if path is None else graph.get_parameter(path)


def _attribute(graph: GraphModule, path: str) -> Any:
    found: Any = graph
    for part in path.split("."):
        found = getattr(found, part)
    return found
