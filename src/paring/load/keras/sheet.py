"""The blueprint while it is drawn, and where the channels of each value are.

Keras keeps the channels of a picture last, torch keeps them first. A `Value` knows Keras's shape and whether the
network holds it with the channels moved to the front; a builder asks for the order that its layer needs, and a
permutation is drawn only where the two differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paring.core.model import Json
from paring.load.blueprint import Blueprint, Names, Node


@dataclass(frozen=True, slots=True)
class Value:
    """What one Keras tensor is in the network.

    Attributes:
        reference: the node that gives it.
        shape: of a sample, in Keras's order.
        moved: whether the network has Keras's last dimension right after the batch.
    """

    reference: str
    shape: tuple[int, ...]
    moved: bool = False


class Unsupported(Exception):
    """A layer, or an option of it, that cannot be rebuilt; says what, in a few words."""


class Sheet:
    """Takes nodes and weights down, and turns them into a blueprint.

    Args:
        inputs: names of the network's inputs.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._inputs, self._names = tuple(inputs), Names(inputs)
        self._nodes: list[Node] = []
        self._layer: Any = None
        self._name = ""
        self._shapes: list[tuple[int, ...]] = []
        self._modules: dict[tuple[int, str], Node] = {}
        self._turned: dict[tuple[str, bool], str] = {}
        # what a global pooling flattened: its reference and rank before, for whoever wants the pixel back
        self.pixels: dict[str, tuple[str, int]] = {}

    @contextmanager
    def drawing(self, layer: Any, name: str, shapes: Sequence[tuple[int, ...]]) -> Iterator[None]:
        """What is added inside belongs to `layer`, which answers with `shapes` (of a sample, in Keras's order)."""
        kept = (self._layer, self._name, self._shapes)
        self._layer, self._name, self._shapes = layer, name, list(shapes)
        try:
            yield
        finally:
            self._layer, self._name, self._shapes = kept

    @property
    def name(self) -> str:
        """The name of the layer that is drawn."""
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a sample of the layer's first answer, in Keras's order."""
        return self._shapes[0]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of each of the layer's answers."""
        return self._shapes

    def add(
        self,
        op: str,
        *inputs: str | None,
        part: str = "",
        tensors: Mapping[str, Any] | None = None,
        **options: Json,
    ) -> str:
        """Draws a node and gives the reference to its answer.

        Args:
            op: a name in `paring.load.operations.OPERATIONS`.
            inputs: references.
            part: tells it from other nodes of the same layer.
            tensors: its weights, under the names of the torch layer's own. A layer that Keras calls again is the same
                module of the network.
            options: of the operation.
        """
        name = self._names(f"{self._name}_{part}" if part else self._name)
        plain = json.loads(json.dumps(options))
        key = (id(self._layer), f"{part} {op} {json.dumps(plain, sort_keys=True)}")
        first = self._modules.get(key) if tensors else None
        self._nodes.append(Node(name, op, inputs, plain, first.name if first else None))
        if tensors and first is None:
            self._modules[key] = self._nodes[-1]
            for tensor_name, tensor in tensors.items():
                self.tensors[f"{name}.{tensor_name}"] = weight(tensor)
        return name

    def constant(self, tensor: Any, part: str) -> str:
        """A tensor that the network holds as a buffer."""
        found = weight(tensor)
        dtype = str(found.dtype).removeprefix("torch.")
        return self.add("Constant", part=part, tensors={"value": found}, shape=list(found.shape), dtype=dtype)

    def parameter(self, tensor: Any, part: str) -> str:
        """A tensor that the network holds as a parameter."""
        found = weight(tensor)
        return self.add("Constant", part=part, tensors={"value": found}, shape=list(found.shape), trainable=True)

    def value(self, reference: str, moved: bool = False, answer: int = 0) -> Value:
        """The layer's answer."""
        return Value(reference, self._shapes[answer], moved and len(self._shapes[answer]) > 1)

    def turned(self, value: Value, moved: bool) -> str:
        """The reference to a value with its last dimension moved to the front, or as Keras has it."""
        rank = len(value.shape)
        if value.moved == moved or rank < 2:
            return value.reference
        key = (value.reference, moved)
        if key not in self._turned:
            order = [0, rank, *range(1, rank)] if moved else [0, *range(2, rank + 1), 1]
            name = self._names(f"{value.reference.replace(':', '_')}_{'nchw' if moved else 'nhwc'}")
            self._nodes.append(Node(name, "permute", (value.reference,), {"dims": order}))
            self._turned[key] = name
            self._turned[name, value.moved] = value.reference
        return self._turned[key]

    def first(self, value: Value) -> str:
        """The reference to a value with its last dimension first."""
        return self.turned(value, True)

    def plain(self, value: Value) -> str:
        """The reference to a value as Keras has it."""
        return self.turned(value, False)

    def together(self, values: Sequence[Value]) -> tuple[list[str], bool]:
        """References to values of one rank in a common order, and whether that order is the moved one."""
        ranks = {len(value.shape) for value in values}
        moved = len(ranks) == 1 and sum(value.moved for value in values) * 2 >= len(values)
        return [self.turned(value, moved) for value in values], moved and ranks != {1}

    def blueprint(self, outputs: Sequence[Value]) -> Blueprint:
        """The network that gives these values as Keras does; nodes that nothing needs are left out."""
        answers = tuple(self.plain(value) for value in outputs)
        needed = {reference.partition(":")[0] for reference in answers}
        kept: list[Node] = []
        for node in reversed(self._nodes):
            if node.name in needed:
                kept.insert(0, node)
                needed.update(reference.partition(":")[0] for reference in node.inputs if reference)
                needed.update([node.layer] if node.layer else [])
        self.tensors = {name: tensor for name, tensor in self.tensors.items() if name.partition(".")[0] in needed}
        return Blueprint(self._inputs, tuple(kept), answers)


def axis(number: int, value: Value, moved: bool) -> int:
    """Keras's axis, the batch being 0, as a dimension of the value in that order."""
    rank = len(value.shape) + 1
    found = number % rank
    if not moved or found == 0 or rank < 3:
        return found
    return 1 if found == rank - 1 else found + 1


def weight(tensor: Any) -> Tensor:
    """A Keras variable or anything like an array as a contiguous tensor of its own kind, without gradient."""
    found = getattr(tensor, "value", tensor)
    found = found if isinstance(found, Tensor) else torch.as_tensor(found)
    found = found.detach().cpu()
    # by strides, not by `is_contiguous`: sizes of one may hide another order, and kernels are chosen by strides
    if found.stride() != torch.empty(found.shape, device="meta").stride():
        found = found.clone(memory_format=torch.contiguous_format)
    return found
