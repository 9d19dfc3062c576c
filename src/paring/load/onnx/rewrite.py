"""Exporters take layers apart: here the parts that make one are put together again, and what nothing needs goes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from paring.core.model import Json
from paring.load.blueprint import Node
from paring.load.onnx.draft import Draft

_NEAR = 1e-4  # constants of formulas are rounded in some exports


def rewrite(draft: Draft) -> None:
    """Puts layers together until nothing changes, and drops the rest. The draft is changed in place."""
    sweep(draft)
    changed = True
    while changed:
        changed = False
        for name in list(draft.nodes):
            if name in draft.nodes and any(rule(_Graph(draft), draft.nodes[name]) for rule in _RULES):
                changed = True
        sweep(draft)


def sweep(draft: Draft) -> None:
    """Drops nodes that no output needs, their tensors, and what the trace knows of them."""
    needed = {_origin(reference) for reference in draft.outputs}
    for name in reversed(draft.nodes):
        if name in needed:
            needed.update(_origin(reference) for reference in draft.nodes[name].inputs if reference)
    draft.nodes = {name: node for name, node in draft.nodes.items() if name in needed}
    draft.tensors = {key: tensor for key, tensor in draft.tensors.items() if key.rpartition(".")[0] in draft.nodes}
    kept = {*draft.nodes, *draft.inputs}
    draft.trace = {name: one for name, one in draft.trace.items() if _origin(one) in kept}


class _Graph:
    """Looks at a draft, and changes it."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def node(self, reference: str | None, *ops: str) -> Node | None:
        """What makes a value, if it is one of these operations."""
        node = self.draft.nodes.get(reference or "")
        return node if node is not None and node.op in ops else None

    def tensor(self, reference: str | None) -> Tensor | None:
        """A constant's numbers."""
        node = self.node(reference, "Constant")
        return None if node is None else self.draft.tensors[f"{node.name}.value"]

    def single(self, name: str) -> bool:
        """Whether one node alone uses a value."""
        uses = Counter(one for node in self.draft.nodes.values() for one in node.inputs)
        return uses[name] == 1 and name not in self.draft.outputs

    def replace(self, node: Node, op: str, inputs: Iterable[str], options: dict[str, Json], **tensors: Tensor) -> bool:
        """Another operation under the same name, so that what follows need not change."""
        self.draft.nodes[node.name] = Node(node.name, op, tuple(inputs), options)
        self.draft.tensors.update({f"{node.name}.{key}": tensor for key, tensor in tensors.items()})
        return True

    def absorb(self, layer: Node, node: Node, options: dict[str, Json], **tensors: Tensor) -> bool:
        """`node` becomes part of `layer`, whose name stays: it now gives what `node` gave."""
        draft = self.draft
        draft.tensors.update({f"{layer.name}.{key}": tensor.contiguous() for key, tensor in tensors.items()})
        draft.trace = {
            value: layer.name if one == node.name else one for value, one in draft.trace.items() if one != layer.name
        }
        nodes: dict[str, Node] = {}
        for name, one in draft.nodes.items():
            if name == layer.name:
                continue
            if name == node.name:
                nodes[layer.name] = replace(layer, options=options)
                continue
            nodes[name] = replace(one, inputs=tuple(layer.name if i == node.name else i for i in one.inputs))
        draft.nodes = nodes
        draft.outputs = [layer.name if one == node.name else one for one in draft.outputs]
        return True


def _factors(graph: _Graph, reference: str, depth: int = 0) -> tuple[float, list[str]]:
    """A value as a product: a number, and other values."""
    node = graph.node(reference, "multiply", "divide")
    if node is None or depth > 4:
        return 1.0, [reference]
    if "other" in node.options:
        number, rest = _factors(graph, str(node.inputs[0]), depth + 1)
        other = float(node.options["other"])
        return (number * other if node.op == "multiply" else number / other if other else math.nan), rest
    if node.op == "divide":
        return 1.0, [reference]
    first, second = (_factors(graph, str(one), depth + 1) for one in node.inputs)
    return first[0] * second[0], first[1] + second[1]


def _shifted(graph: _Graph, reference: str, by: float) -> str | None:
    """`x` of `x + by`."""
    node = graph.node(reference, "add")
    return str(node.inputs[0]) if node and node.options.get("other") == by else None


def _activation(graph: _Graph, node: Node) -> bool:
    """Products of a value with a function of itself: SiLU, Hardswish, Mish, GELU."""
    if node.op not in ("multiply", "divide"):
        return False
    number, factors = _factors(graph, node.name)
    if len(factors) != 2:
        return False
    return any(_gated(graph, node, number, x, gate) for x, gate in (factors, factors[::-1]))


def _gated(graph: _Graph, node: Node, number: float, x: str, gate: str) -> bool:  # noqa: PLR0911 (a table of cases)
    def near(wanted: float) -> bool:
        return abs(number - wanted) < _NEAR

    made = graph.node(gate, "Sigmoid", "Hardsigmoid", "Tanh", "ReLU6", "Hardtanh", "add")
    if made is None:
        return False
    inner = str(made.inputs[0])
    if made.op == "Sigmoid" and near(1) and inner == x:
        return graph.replace(node, "SiLU", [x], {})
    if made.op == "Hardsigmoid" and near(1) and inner == x:
        return graph.replace(node, "Hardswish", [x], {})
    if made.op == "ReLU6" and near(1 / 6) and _shifted(graph, inner, 3.0) == x:
        return graph.replace(node, "Hardswish", [x], {})
    if made.op == "Tanh" and near(1) and (plus := graph.node(inner, "Softplus")) and plus.inputs[0] == x:
        return graph.replace(node, "Mish", [x], {})
    if made.op == "add" and near(0.5) and made.options.get("other") == 1.0:
        if (erf := graph.node(inner, "erf")) and _scaled(graph, str(erf.inputs[0]), x, math.sqrt(0.5)):
            return graph.replace(node, "GELU", [x], {})
        if (tanh := graph.node(inner, "Tanh")) and _cubic(graph, str(tanh.inputs[0]), x):
            return graph.replace(node, "GELU", [x], {"approximate": "tanh"})
    return False


def _scaled(graph: _Graph, reference: str, x: str, by: float) -> bool:
    number, factors = _factors(graph, reference)
    return factors == [x] and abs(number - by) < _NEAR


def _is_cube(power: Node | None, x: str) -> bool:
    return power is not None and power.options.get("exponent") == 3 and power.inputs[0] == x


def _cubic(graph: _Graph, reference: str, x: str) -> bool:
    """Whether a value is sqrt(2/π) (x + 0.044715 x³)."""
    number, factors = _factors(graph, reference)
    total = graph.node(factors[0], "add") if len(factors) == 1 else None
    if total is None or abs(number - math.sqrt(2 / math.pi)) > _NEAR or len(total.inputs) != 2:
        return False
    for one, other in (total.inputs, total.inputs[::-1]):
        share, parts = _factors(graph, str(other))
        cubed = len(parts) == 1 and _is_cube(graph.node(parts[0], "power"), x)
        if one == x and abs(share - 0.044715) < _NEAR and (parts == [x, x, x] or cubed):
            return True
    return False


def _hard_sigmoid(graph: _Graph, node: Node) -> bool:
    """ReLU6(x + 3) / 6."""
    if node.op not in ("multiply", "divide") or "other" not in node.options:
        return False
    number, factors = _factors(graph, node.name)
    made = graph.node(factors[0], "ReLU6") if len(factors) == 1 else None
    x = _shifted(graph, str(made.inputs[0]), 3.0) if made else None
    return x is not None and abs(number - 1 / 6) < _NEAR and graph.replace(node, "Hardsigmoid", [x], {})


def _layer_norm(graph: _Graph, node: Node) -> bool:
    """(x - mean) / sqrt(mean((x - mean)²) + eps), over the last dimension."""
    if node.op != "divide" or len(node.inputs) != 2:
        return False
    centred, root = graph.node(node.inputs[0], "subtract"), graph.node(node.inputs[1], "sqrt")
    total = graph.node(root.inputs[0], "add") if root else None
    variance = graph.node(total.inputs[0], "mean") if total else None
    square = graph.node(variance.inputs[0], "power", "multiply") if variance else None
    if not (centred and total and variance and square) or len(centred.inputs) != 2 or "other" not in total.options:
        return False
    mean = graph.node(centred.inputs[1], "mean")
    squared = square.options.get("exponent") == 2 or (len(square.inputs) == 2 and square.inputs[0] == square.inputs[1])
    own = graph.node(square.inputs[0], "subtract")  # some exporters subtract twice
    same = own is not None and own.inputs == centred.inputs
    if mean is None or not squared or not same or mean.inputs[0] != centred.inputs[0]:
        return False
    made = graph.draft.made.get(node.name)
    given = graph.draft.made.get(centred.name)
    if made is None or given is None or given[1][0] is None:
        return False
    rank, size = given[1][0].rank, given[1][0].shape[-1]
    if any(one.options.get("dim") != [rank - 1] or not one.options.get("keepdim") for one in (mean, variance)):
        return False
    options = {"normalized_shape": [size], "eps": total.options["other"]}
    return graph.replace(
        node, "LayerNorm", [str(centred.inputs[0])], options, weight=torch.ones(size), bias=torch.zeros(size)
    )


def _affine(graph: _Graph, node: Node) -> bool:
    """A constant that a layer is multiplied with or that is added to it."""
    if node.op not in ("add", "multiply") or len(node.inputs) != 2:
        return False
    for reference, other in (node.inputs, node.inputs[::-1]):
        layer, tensor = graph.node(reference, *_HOLDS), graph.tensor(other)
        if layer is not None and tensor is not None and graph.single(layer.name):
            done = _HOLDS[layer.op](graph, layer, node, tensor)
            if done:
                return True
    return False


def _into_linear(graph: _Graph, layer: Node, node: Node, tensor: Tensor) -> bool:
    size = layer.options["out_features"]
    if node.op != "add" or layer.options["bias"] or tensor.shape[-1:] != (size,) or tensor.numel() != size:
        return False
    return graph.absorb(layer, node, {**layer.options, "bias": True}, bias=tensor.flatten())


def _into_conv(graph: _Graph, layer: Node, node: Node, tensor: Tensor) -> bool:
    size, spatial = layer.options["out_channels"], len(layer.options["kernel_size"])
    if node.op != "add" or layer.options["bias"] or tensor.numel() != size:
        return False
    if tuple(tensor.shape)[-spatial - 1 :] != (size, *[1] * spatial):
        return False
    return graph.absorb(layer, node, {**layer.options, "bias": True}, bias=tensor.flatten())


def _into_layer_norm(graph: _Graph, layer: Node, node: Node, tensor: Tensor) -> bool:
    own = graph.draft.tensors
    weight, bias = own[f"{layer.name}.weight"], own.get(f"{layer.name}.bias")
    if tuple(tensor.shape) != tuple(weight.shape) or bias is None:
        return False
    if node.op == "multiply":
        return graph.absorb(layer, node, dict(layer.options), weight=weight * tensor, bias=bias * tensor)
    return graph.absorb(layer, node, dict(layer.options), bias=bias + tensor)


_HOLDS: dict[str, Callable[[_Graph, Node, Node, Tensor], bool]] = {
    "Linear": _into_linear,
    "LayerNorm": _into_layer_norm,
    **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d"), _into_conv),
}


def _group_norm(graph: _Graph, node: Node) -> bool:
    """GroupNorm as older exporters write it: groups become channels, are normalized, and channels again."""
    if node.op not in ("reshape", "reshape_any"):
        return False
    inner = graph.node(node.inputs[0], "GroupNorm")
    before = graph.node(inner.inputs[0], "reshape", "reshape_any") if inner else None
    made, given = graph.draft.made.get(node.name), graph.draft.made.get(before.name if before else "")
    if inner is None or before is None or made is None or given is None or given[1][0] is None:
        return False
    groups, x = inner.options["num_groups"], given[1][0]
    weight, bias = (graph.draft.tensors[f"{inner.name}.{key}"] for key in ("weight", "bias"))
    plain = bool((weight == 1).all()) and bool((bias == 0).all())
    if not plain or x.rank < 3 or x.shape[1] % groups or inner.options["num_channels"] != groups:
        return False
    into, back = (list(one.options["shape"]) for one in (before, node))
    into, back = (one if op.op == "reshape" else one[1:] for one, op in ((into, before), (back, node)))
    if into[0] != groups or back != list(x.shape[1:]):
        return False
    channels = x.shape[1]
    return graph.replace(
        node, "GroupNorm", [str(before.inputs[0])],
        {"num_groups": groups, "num_channels": channels, "eps": inner.options["eps"]},
        weight=torch.ones(channels), bias=torch.zeros(channels),
    )  # fmt: skip


def _into_group_norm(graph: _Graph, layer: Node, node: Node, tensor: Tensor) -> bool:
    own = graph.draft.tensors
    weight, bias = own[f"{layer.name}.weight"], own[f"{layer.name}.bias"]
    shape = [one for one in tensor.shape if one != 1]
    if shape != [weight.numel()] or tensor.ndim < 3 or any(one != 1 for one in tensor.shape[-2:]):
        return False
    tensor = tensor.flatten()
    if node.op == "multiply":
        return graph.absorb(layer, node, dict(layer.options), weight=weight * tensor, bias=bias * tensor)
    return graph.absorb(layer, node, dict(layer.options), bias=bias + tensor)


_HOLDS["GroupNorm"] = _into_group_norm
_RULES = (_activation, _hard_sigmoid, _layer_norm, _group_norm, _affine)


def _origin(reference: str) -> str:
    return reference.partition(":")[0]
