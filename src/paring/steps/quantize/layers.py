"""The layers of a network whose weights can be stored in few bits, and batch norm folded into them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_weights

from paring.core.errors import ParingError
from paring.core.model import Edit, Json, Model
from paring.core.once import known
from paring.core.quiet import quiet
from paring.steps.quantize import same
from paring.steps.quantize.annotate import WEIGHTED, layer_of
from paring.steps.select import Choosable

EDIT = "fold_batch_norm"
_EMBEDDING = torch.ops.aten.embedding.default
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True)
class Layer(Choosable):
    """A layer with a weight.

    Attributes:
        kind: `linear`, `conv`, `depthwise`, `grouped`, `transposed`, `embedding`; empty for any other.
        axis: of its weight's output channels, or of an embedding's rows.
        intensity: of a convolution, its multiply–accumulates for each value that it reads or writes; infinite for any
            other layer.
        norm: the batch norm that alone reads its output; empty if there is none.
        reason: why its weight cannot be stored in few bits; empty if it can.
    """

    kind: str = ""
    axis: int = 0
    intensity: float = math.inf
    norm: str = ""
    reason: str = ""


def layers(model: Model) -> list[Layer]:
    """The layers with weights, in the order of execution; those that no rule knows come last.

    Raises:
        ParingError: `torch.export` cannot trace the model.
    """
    return list(known("layers", model, lambda: _layers(model)))


def _layers(model: Model) -> list[Layer]:
    graph = _trace(model)
    nodes = [
        n for n in graph.graph.nodes if n.op == "call_function" and (n.target in WEIGHTED or n.target is _EMBEDDING)
    ]
    modules = dict(model.module.named_modules())
    names = [_owner(modules, node) for node in nodes]
    computing = [name for name, node in zip(names, nodes, strict=True) if node.target is not _EMBEDDING]
    found: dict[str, Layer] = {}
    for name, node in zip(names, nodes, strict=True):
        kind, axis = kind_of(modules.get(name))
        ends = {end for end, one in (("first", computing[:1]), ("last", computing[-1:])) if name in one}
        norm, reason = "", _reason(modules.get(name), kind, node)
        if not reason:
            once = names.count(name) == 1 and len(_weight(node).users) == 1  # a weight may be two layers'
            norm, reason = _norm(modules, node, once=once)
        found.setdefault(
            name, Layer(name, frozenset({kind or "layer"} | ends), kind, axis, _intensity(node), norm, reason)
        )
    for name in _matrices(graph):
        if name not in found:
            found[name] = Layer(name, frozenset({"layer"}), reason=_no_rule(modules.get(name)))
    return list(found.values())


def kind_of(module: nn.Module | None) -> tuple[str, int]:
    """The kind of a layer, empty for one without a rule; and the axis of its weight's channels."""
    if isinstance(module, nn.Linear):
        return "linear", 0
    if isinstance(module, nn.Embedding):
        return "embedding", 0
    if isinstance(module, _TRANSPOSED) and module.groups == 1:
        return "transposed", 1
    if isinstance(module, _CONVOLUTIONS):
        depthwise = module.groups == module.in_channels > 1
        return "depthwise" if depthwise else "conv" if module.groups == 1 else "grouped", 0
    return "", 0


def fold(model: Model, chosen: Iterable[Layer]) -> tuple[nn.Module, tuple[Edit, ...]]:
    """A copy of the module with the batch norms behind the chosen layers folded into them, and the edit that did it.

    An exported file has no batch norm either: what it stores is the folded weight.

    Raises:
        ParingError: the folded module answers otherwise.
    """
    with quiet():  # torch warns of its own calls when it copies a graph
        module = deepcopy(model.module)
    pairs = [[layer.name, layer.norm] for layer in chosen if layer.norm]
    for name, norm in pairs:
        _fold(module.get_submodule(name), module.get_submodule(norm))
        module.set_submodule(norm, nn.Identity().eval())
    if pairs:
        same.require(model, module, "folded")
    return module, (Edit(EDIT, {"pairs": pairs}),) if pairs else ()


def replay(model: Model, data: Mapping[str, Json]) -> nn.Module:
    """The module with the same batch norms gone; the weights come with the saved tensors."""
    for name, norm in data["pairs"]:
        _fold(model.module.get_submodule(name), model.module.get_submodule(norm))
        model.module.set_submodule(norm, nn.Identity().eval())
    return model.module


def _trace(model: Model) -> GraphModule:
    args = tuple(torch.zeros(spec.sized(2), dtype=getattr(torch, spec.dtype)) for spec in model.inputs)
    try:
        with quiet():
            graph: GraphModule = torch.export.export(model.module, args).module()
    except Exception as error:  # torch.export raises many kinds
        raise ParingError(
            f"torch.export cannot trace it: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
            str(model.source),
            "avoid Python control flow that depends on values",
        ) from error
    return graph


def _matrices(graph: GraphModule) -> Iterator[str]:
    """The modules that hold a parameter with two axes or more that the network uses."""
    parameters = dict(graph.named_parameters())
    for node in graph.graph.nodes:
        if node.op == "get_attr" and node.users and getattr(parameters.get(node.target), "ndim", 0) > 1:
            yield str(node.target).rpartition(".")[0]


def _owner(modules: Mapping[str, nn.Module], node: Node) -> str:
    """The module that holds the weight: mostly the one that calls, but attention hands its matrices around."""
    name = layer_of(node).partition("@")[0]  # torch.export counts the calls of a module that is called again
    weight = _weight(node)
    if weight.op == "get_attr" and not kind_of(modules.get(name))[0]:
        return str(weight.target).rpartition(".")[0]
    return name


def _weight(node: Node) -> Node:
    weight: Any = node.args[0 if node.target is _EMBEDDING else 1]
    found: Node = weight
    return found


def _reason(module: nn.Module | None, kind: str, node: Node) -> str:
    if _weight(node).op != "get_attr" or (kind and module is not None and "weight" not in module._parameters):
        return "its weight is computed by the network, not stored"
    if module is None or not kind:
        return _no_rule(module)
    weight = module.get_parameter("weight")
    if weight.dtype is not torch.float32:
        return f"its weight is {str(weight.dtype).removeprefix('torch.')}"
    if not bool(torch.isfinite(weight).all()):
        return "its weight holds NaN or infinite values"
    if kind == "embedding" and not _depends_on_inputs(node):
        return "it looks up the same rows always, which an exported file holds as a constant"
    return ""


def _no_rule(module: nn.Module | None) -> str:
    return f"{type(module).__name__ if module else 'a bare operator'} has no rule for few bits"


def _depends_on_inputs(node: Node) -> bool:
    seen, waiting = set[Node](), list(node.all_input_nodes)
    while waiting:
        one = waiting.pop()
        if one.op == "placeholder":
            return True
        if one not in seen:
            seen.add(one)
            waiting += one.all_input_nodes
    return False


def _norm(modules: Mapping[str, nn.Module], node: Node, *, once: bool) -> tuple[str, str]:
    """The batch norm behind a layer, empty if there is none; and why it cannot be folded, empty if it can."""
    users = list(node.users)
    if len(users) != 1 or users[0].target is not torch.ops.aten.batch_norm.default:
        return "", ""
    name = layer_of(users[0])
    norm = modules.get(name)
    # a class of its own may do more than normalize, and a norm that is called again is needed
    fits = type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d) and _channels_second(node)
    if once and fits and norm is not None and norm.running_mean is not None and _called_once(users[0]):
        return name, ""
    return "", "the batch norm behind it cannot be folded into it"


def _called_once(norm: Node) -> bool:
    statistics: Any = norm.args[3]
    return len(statistics.users) == 1


def _intensity(node: Node) -> float:
    if node.target in (_EMBEDDING, torch.ops.aten.linear.default, torch.ops.aten.conv_transpose2d.input):
        return math.inf
    read, weight, written = (one.meta["val"] for one in (node.all_input_nodes[0], _weight(node), node))
    macs = weight.numel() * written.shape[0] * written[0, 0].numel()
    return float(macs / (read.numel() + written.numel()))


def _channels_second(node: Node) -> bool:
    """Whether a layer's channels lie on the axis that batch norm takes for them; a linear layer's lie on the last."""
    if node.target is _EMBEDDING:  # whose weight has rows, not channels
        return False
    return node.target is not torch.ops.aten.linear.default or node.meta["val"].ndim == 2


def _fold(layer: Any, norm: Any) -> None:
    layer.weight, layer.bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias,
        transpose=isinstance(layer, _TRANSPOSED),
    )  # fmt: skip
