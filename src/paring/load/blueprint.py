"""A network as data: what the Keras and the ONNX door translate into, and what a saved model is built from again.

A blueprint lists nodes in the order in which they run. Each names an operation from a table (`OPERATIONS`), so a file
can ask for nothing else: layers become `torch.nn` layers, which techniques act on, the rest plain functions.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Json, Source
from paring.load.operations import OPERATIONS


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
        name: unique, letters, digits and underscores; a layer is the module of that name.
        op: key in `OPERATIONS`.
        inputs: what it is given, in order: names of inputs of the network or of earlier nodes; `name:1` is the second
            of several values that a node gives; None is an argument left out.
        options: keyword arguments, JSON values.
        layer: the earlier node whose module runs here too, where the original calls one layer twice.
        tied: parameter of this node's module -> that of an earlier one which it is, e.g. `weight: embedding.weight`.
    """

    name: str
    op: str
    inputs: tuple[str | None, ...]
    options: Mapping[str, Json] = field(default_factory=dict)
    layer: str | None = None
    tied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A network as data.

    Attributes:
        inputs: names, in the order of `forward`'s arguments.
        nodes: in the order in which they run.
        outputs: references, in the order of what `forward` gives.
    """

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        """Plain data, as it comes back from a file."""
        data: dict[str, Json] = json.loads(json.dumps(asdict(self)))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Blueprint:
        """The inverse of `as_json`.

        Raises:
            KeyError, TypeError: a part is missing, or of another kind.
        """
        nodes = (
            Node(
                node["name"],
                node["op"],
                tuple(node["inputs"]),
                node["options"],
                node.get("layer"),
                node.get("tied", {}),
            )
            for node in data["nodes"]
        )
        return cls(tuple(data["inputs"]), tuple(nodes), tuple(data["outputs"]))


class Network(nn.Module):
    """Runs a blueprint. Layers are submodules under their nodes' names; functions hold no state.

    Raises:
        ParingError: an operation is not in the table or refuses its options, or a reference leads nowhere.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self._inputs, self._outputs = blueprint.inputs, blueprint.outputs
        self._plan: list[tuple[Node, Callable[..., Any] | None, tuple[str, ...]]] = []
        known, last = set(blueprint.inputs), _last_uses(blueprint)
        for node in blueprint.nodes:
            missing = [reference for reference in node.inputs if reference and _origin(reference) not in known]
            if missing or node.name in known:
                raise ParingError(f"the node {node.name} is out of order", "blueprint", "convert the model again")
            known.add(node.name)
            made = None if node.layer in self._modules else _make(node)
            if isinstance(made, nn.Module):
                self.add_module(node.name, made)
                self._tie(node, made)
            # a layer is looked up when it runs: whoever replaces the submodule replaces what runs
            self._plan.append((node, None if isinstance(made, nn.Module) else made, tuple(last.get(node.name, ()))))

    def _tie(self, node: Node, module: nn.Module) -> None:
        for name, other in node.tied.items():
            try:
                parameter = self.get_parameter(other)
            except AttributeError as error:
                raise ParingError(
                    f"{other}, which the node {node.name} shares, is no parameter",
                    "blueprint",
                    "convert the model again",
                ) from error
            module.register_parameter(name, parameter)

    @property
    def nodes(self) -> list[Node]:
        """Of the blueprint, in the order in which they run."""
        return [node for node, _, _ in self._plan]

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs; one alone is not wrapped in a tuple."""
        outputs = self.trace(inputs, self._outputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def trace(self, inputs: Sequence[Tensor], wanted: Sequence[str]) -> list[Tensor]:
        """The values of the references `wanted`, which may lie anywhere in the network; all others are let go."""
        values: dict[str, Any] = dict(zip(self._inputs, inputs, strict=True))
        keep = {_origin(reference) for reference in wanted}
        for node, function, spent in self._plan:
            given = [None if reference is None else _value(values, reference) for reference in node.inputs]
            values[node.name] = (function or self.get_submodule(node.layer or node.name))(*given)
            for name in spent:
                if name not in keep:
                    del values[name]
        return [_value(values, reference) for reference in wanted]


def build(source: Source) -> nn.Module:
    """The network of a saved model whose source holds a blueprint."""
    try:
        return Network(Blueprint.from_json(source.blueprint))
    except (KeyError, TypeError) as error:
        raise ParingError(f"its blueprint lacks {error}", str(source), "load the original model again") from error


class Names:
    """Gives every node a name of its own, near to the one it had where it comes from."""

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self._used = Counter(taken)

    def __call__(self, wanted: str) -> str:
        """`block/conv.1` -> `block_conv_1`; a second one is `block_conv_1_1`."""
        name = re.sub(r"\W+", "_", wanted, flags=re.ASCII).strip("_") or "node"
        if name[0].isdigit() or hasattr(nn.Module, name):
            name = f"node_{name}"
        found = name
        while found in self._used:
            found = f"{name}_{self._used[name]}"
            self._used[name] += 1
        self._used[found] += 1
        return found


def _make(node: Node) -> Any:
    if node.op not in OPERATIONS:
        raise ParingError(f"there is no operation {node.op!r}", f"blueprint: {node.name}", "use a newer paring")
    try:
        return OPERATIONS[node.op](**node.options)
    except (TypeError, ValueError) as error:
        raise ParingError(
            f"{node.op} refuses its options: {error}", f"blueprint: {node.name}", "convert the model again"
        ) from error


def _origin(reference: str) -> str:
    return reference.partition(":")[0]


def _value(values: Mapping[str, Any], reference: str) -> Tensor:
    name, _, index = reference.partition(":")
    found: Tensor = values[name][int(index)] if index else values[name]
    return found


def _last_uses(blueprint: Blueprint) -> dict[str, list[str]]:
    """Node -> the values that nothing needs after it."""
    last = {_origin(reference): node.name for node in blueprint.nodes for reference in node.inputs if reference}
    for reference in blueprint.outputs:
        last.pop(_origin(reference), None)
    spent: dict[str, list[str]] = {}
    for name, node in last.items():
        spent.setdefault(node, []).append(name)
    return spent
