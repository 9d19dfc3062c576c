"""A blueprint in the making, and what is known of each value while it is made.

Every value is known at a batch of two and of three samples: its shape, or, where it rests on nothing but constants and
shapes, its numbers. So constants fold, chains of shape arithmetic vanish, and what grows with the batch shows itself,
all by running the blueprint's own operations on tensors without storage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.model import Json
from paring.load.arrays import ARRAYS
from paring.load.blueprint import Blueprint, Names, Network, Node
from paring.load.operations import OPERATIONS

BATCHES = (2, 3)


class Cannot(Exception):
    """Why an operator cannot be rebuilt, and what to do; the caller knows where it stands."""

    def __init__(self, problem: str, remedy: str = "export the model from PyTorch in another way") -> None:
        super().__init__(problem)
        self.remedy = remedy


@dataclass(eq=False)
class Value:
    """One value of the graph.

    Attributes:
        at: the value for each of `BATCHES`; on the meta device unless `known`.
        known: whether the numbers are known.
        reference: in the blueprint; None for a known value that nothing has needed yet.
    """

    at: tuple[Tensor, ...]
    known: bool = False
    reference: str | None = None

    @classmethod
    def of(cls, tensor: Tensor) -> Value:
        """A constant."""
        return cls((tensor,) * len(BATCHES), known=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """At a batch of two."""
        return tuple(self.at[0].shape)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """At each batch size."""
        return [tuple(tensor.shape) for tensor in self.at]

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return self.at[0].ndim

    @property
    def dtype(self) -> torch.dtype:
        """Of the elements."""
        return self.at[0].dtype

    @property
    def grows(self) -> list[int]:
        """The dimensions that grow with the batch."""
        return [dim for dim, (a, b) in enumerate(zip(*self.shapes, strict=True)) if a != b]

    @property
    def constant(self) -> Tensor | None:
        """The numbers, where they are known and do not depend on the batch."""
        first, second = self.at
        if not self.known or (first is not second and not (first.shape == second.shape and torch.equal(first, second))):
            return None
        return first


@dataclass
class Draft:
    """Nodes, tensors, and where the values of the original are in it.

    Attributes:
        inputs: names.
        outputs: references.
        nodes: by name, in the order in which they run.
        tensors: for the network's state.
        trace: name of a value in the file -> its reference.
        like: reference of a tensor whose first dimension is the batch.
    """

    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    trace: dict[str, str] = field(default_factory=dict)
    like: str = ""
    names: Names = field(default_factory=Names)
    made: dict[str, tuple[Node, tuple[Value | None, ...]]] = field(default_factory=dict)

    def blueprint(self) -> Blueprint:
        """What was made."""
        nodes = (replace(node, op=_named(node.op)) for node in self.nodes.values())
        return Blueprint(tuple(self.inputs), tuple(nodes), tuple(self.outputs))

    def network(self) -> Network:
        """The network with its weights, in eval mode."""
        with torch.device("meta"):
            network = Network(self.blueprint())
        network.load_state_dict(self.tensors, assign=True)
        return network.eval()

    def input(self, name: str, shape: Sequence[int | str], dtype: torch.dtype) -> Value:
        """An input of the network; a dimension that is a name is the batch."""
        own = self.names(name)
        self.inputs.append(own)
        self.like = self.like or own
        sizes = [[batch if isinstance(size, str) else size for size in shape] for batch in BATCHES]
        return Value(tuple(torch.empty(size, dtype=dtype, device="meta") for size in sizes), reference=own)

    def emit(
        self,
        name: str,
        op: str,
        inputs: Sequence[Value | None],
        options: Mapping[str, Json],
        tensors: Mapping[str, Tensor] | None = None,
    ) -> list[Value]:
        """Adds a node, or does its work at once where all that it needs is known. Gives its values."""
        with torch.no_grad():
            if inputs and all(value is not None and value.known for value in inputs) and not tensors:
                function = OPERATIONS[_named(op)](**options)
                given = [[value.at[i] for value in inputs if value is not None] for i in range(len(BATCHES))]
                same = all(value.constant is not None for value in inputs if value is not None)
                first = _tuple(function(*given[0]))
                second = first if same else _tuple(function(*given[1]))
                return [Value(pair, known=True) for pair in zip(first, second, strict=True)]
            references = tuple(None if value is None else self.reference(value) for value in inputs)
            with torch.device("meta"):
                function = OPERATIONS[_named(op)](**options)
                if isinstance(function, nn.Module):
                    function.eval()
                found = [
                    _tuple(function(*(None if value is None else value.at[i].to("meta") for value in inputs)))
                    for i in range(len(BATCHES))
                ]
        node = Node(self.names(name), op, references, dict(options))
        self.nodes[node.name] = node
        for key, tensor in (tensors or {}).items():
            self.tensors[f"{node.name}.{key}"] = tensor.detach().clone(memory_format=torch.contiguous_format)
        alone = len(found[0]) == 1
        values = [
            Value(pair, reference=node.name if alone else f"{node.name}:{index}")
            for index, pair in enumerate(zip(*found, strict=True))
        ]
        for value in values:
            self.made[str(value.reference)] = (node, tuple(inputs))
        return values

    def reference(self, value: Value) -> str:
        """Where the blueprint has a value; a known one becomes a constant of the network."""
        if value.reference is None:
            tensor = value.constant
            value.reference = self._grown(value) if tensor is None else self._constant(tensor)
        return value.reference

    def _constant(self, tensor: Tensor) -> str:
        if tensor.dtype.is_floating_point and bool(tensor.isinf().any()):
            return self._with_infinities(tensor)
        dtype = str(tensor.dtype).removeprefix("torch.")
        options = {"shape": list(tensor.shape), "dtype": dtype}
        (made,) = self.emit("constant", "Constant", (), options, {"value": tensor})
        return str(made.reference)

    def _with_infinities(self, tensor: Tensor) -> str:
        """Weights must be finite: infinities are put in where the network runs."""
        found = Value.of(torch.where(tensor.isinf(), 0.0, tensor))
        for number in (math.inf, -math.inf):
            where = tensor == number
            if bool(where.any()):
                self.reference(found)
                condition = Value.of(where)
                self.reference(condition)
                condition.known = found.known = False  # or the infinity would fold into a constant again
                (found,) = self.emit("infinite", "where", (condition, found), {"x": str(number)})
        return str(found.reference)

    def _grown(self, value: Value) -> str:
        """A known value of which every sample has the same, e.g. zeros for a state."""
        dims = value.grows
        if len(dims) == 1 and [shape[dims[0]] for shape in value.shapes] == list(BATCHES):
            one = value.at[0].narrow(dims[0], 0, 1)
            if all(torch.equal(one.expand_as(tensor), tensor) for tensor in value.at):
                base = Value.of(one)
                reference = self.reference(base)
                node = Node(self.names("repeated"), "expand_batch", (reference, self.like), {"dim": dims[0]})
                self.nodes[node.name] = node
                return node.name
        raise Cannot("it computes with the number of samples in the batch", "export it with a fixed batch of 1")


def _tuple(answer: Any) -> tuple[Tensor, ...]:
    return (answer,) if isinstance(answer, Tensor) else tuple(answer)


def _named(op: str) -> str:
    """The name of an operation in the table; ours of arrays have a prefix there."""
    return f"array.{op}" if op in ARRAYS else op
