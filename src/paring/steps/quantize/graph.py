"""A model as a graph of ATen operators, and such a graph with int8 scales in it (torchao PT2E)."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from paring.core.errors import ParingError
from paring.core.model import Json, Model
from paring.core.quiet import quiet
from paring.steps.quantize import same
from paring.steps.quantize.annotate import WEIGHTED, Annotator, fused_activation, layer_of
from paring.steps.quantize.constants import fold_constants
from paring.steps.quantize.functional import functional
from paring.steps.quantize.nodes import assign, attribute
from paring.steps.quantize.norms import fold_norms
from paring.steps.quantize.observers import KnownScales
from paring.steps.quantize.pt2e import converted, scopes
from paring.steps.quantize.pt2e import prepare as with_observers
from paring.steps.quantize.rewrites import rewrite

_decomposed = torch.ops.quantized_decomposed
_QUANTIZE = {_decomposed.quantize_per_channel.default, _decomposed.quantize_per_tensor.default}


def capture(model: Model, *, proven: bool = True) -> GraphModule:
    """The graph of a model, free dimensions kept free and nothing written in place. The model's tensors are shared.

    Args:
        model: in its working form.
        proven: hold its answers against those of the module; not where they mean nothing, as the tensors come later.

    Raises:
        ParingError: `torch.export` cannot trace it (the message carries its reason); it keeps something between calls;
            the graph answers otherwise.
    """
    args = tuple(torch.zeros(spec.sized(2), dtype=getattr(torch, spec.dtype)) for spec in model.inputs)
    names = {size for spec in model.inputs for size in spec.shape if isinstance(size, str)}
    # a batch may be of any size; other sizes may be bound to each other, or to a limit of the model's own
    free: dict[str, Any] = dict.fromkeys(names, torch.export.Dim.DYNAMIC)
    free["batch"] = torch.export.Dim("batch", min=1, max=2**16)
    shapes: tuple[Any, ...] = tuple(
        {axis: free[size] for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in model.inputs
    )
    if any(one.kind is one.VAR_POSITIONAL for one in signature(model.module.forward).parameters.values()):
        shapes = (shapes,)  # of `forward(*inputs)` torch wants them as one argument
    try:
        with quiet():
            graph = functional(_exported(model.module, args, shapes), str(model.source))
    except ParingError:
        raise
    except Exception as error:  # torch.export raises many kinds
        raise ParingError(
            f"torch.export cannot trace it: {_first_line(error)}",
            str(model.source),
            "avoid Python control flow that depends on values, and shapes fixed to one batch size",
        ) from error
    rewrite(graph)
    if proven:
        same.require(model, graph, "traced")
    return graph


def fold(graph: GraphModule, *, biases: bool = False, of: Model | None = None) -> GraphModule:
    """The graph with batch norm folded into the layers before, and weights stored that it computes, in own tensors.

    Args:
        graph: as `capture` gives it; it is changed and returned.
        biases: give every layer with a weight a bias, so that a repair can write into it.
        of: the model whose answers it is held against; None for no such proof.

    Raises:
        ParingError: it answers otherwise than the model.
    """
    with quiet():
        fold_constants(graph)
        fold_norms(graph)
    copies: dict[nn.Parameter, nn.Parameter] = {}  # a tied one has several names
    for name, parameter in list(graph.named_parameters(remove_duplicate=False)):
        if parameter not in copies:
            copies[parameter] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
        assign(graph, name, copies[parameter])
    if biases:
        for layer in weighted(graph):
            if layer.bias is None:
                _add_bias(graph, layer)
        graph.recompile()
    if of is not None:
        same.require(of, graph, "folded")
    return graph


@dataclass(frozen=True)
class Weighted:
    """A layer with a weight, in a graph.

    Attributes:
        name: of the layer.
        node: the operator.
        weight: path of the weight.
        bias: path of the bias; None where there is none.
        observer: path of what observes the weight; None before `prepare`, and in a layer that stays in float.
        axis: of the weight's output channels.
    """

    name: str
    node: Node
    weight: str
    bias: str | None
    observer: str | None
    axis: int


def weighted(graph: GraphModule) -> list[Weighted]:
    """The layers whose weight is stored, in the order of execution, of a graph prepared or not."""
    found = []
    for node in graph.graph.nodes:
        if node.op != "call_function" or node.target not in WEIGHTED:
            continue
        weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
        observer = str(weight.target) if weight.op == "call_module" else None
        if observer is not None:
            weight = weight.args[0]
        if weight.op == "get_attr":
            path = None if bias is None else str(bias.target)
            found.append(Weighted(layer_of(node), node, str(weight.target), path, observer, WEIGHTED[node.target]))
    return found


def prepare(graph: GraphModule, annotator: Annotator) -> GraphModule:
    """The graph with an observer at every tensor that becomes an integer.

    `prepare_pt2e` would fold batch norm its own way first: once for every call of a layer, whoever else reads it.
    """
    with quiet():
        annotator.annotate(graph)
        prepared: GraphModule = with_observers(graph, scopes(graph), is_qat=False)
    prepared.meta.update(graph.meta)
    return prepared


def convert(prepared: GraphModule) -> GraphModule:
    """The graph with its scales: quantize–dequantize pairs, weights still stored in float (an export folds them)."""
    with quiet():
        found = converted(prepared)
    for module in found.modules():
        module.training = False
    return found


def observers(prepared: GraphModule) -> dict[str, Any]:
    """The observers of activations in a prepared graph by name, in its order; a shared one comes once a name."""
    return {
        str(node.target): prepared.get_submodule(str(node.target))
        for node in prepared.graph.nodes
        if observes(node) and node.args[0].op != "get_attr"
    }


def layer_of_observers(prepared: GraphModule) -> dict[str, str]:
    """Observer -> the layer whose weight or output it watches; `the input` for one that watches an input.

    What a fused activation gives is its layer's output.
    """
    found: dict[str, str] = {}
    for layer in weighted(prepared):
        if layer.observer is not None:
            found[layer.observer] = layer.name
    for node in prepared.graph.nodes:
        if observes(node) and str(node.target) not in found:
            source = node.args[0]
            before = source.all_input_nodes[0] if source.all_input_nodes else None
            if before is not None and fused_activation(before) is source:
                source = before
            found[str(node.target)] = "the input" if source.op == "placeholder" else layer_of(source)
    return found


def fix_weights(prepared: GraphModule) -> None:
    """Finds the scales of the weights, and puts them in the place of the observers."""
    for layer in weighted(prepared):
        if layer.observer is not None:
            observer: Any = prepared.get_submodule(layer.observer)
            observer(prepared.get_parameter(layer.weight))
            setattr(prepared, layer.observer, KnownScales(observer, *observer.calculate_qparams()))


def fix_activations(prepared: GraphModule) -> None:
    """Puts the scales that calibration found in the place of the observers."""
    known: dict[Any, KnownScales] = {}  # one observer may stand under several names
    for name, observer in observers(prepared).items():
        if observer not in known:
            known[observer] = KnownScales(observer, *observer.calculate_qparams())
        setattr(prepared, name, known[observer])


def per_tensor_scales(prepared: GraphModule) -> dict[str, Json]:
    """Scale and zero point of every tensor that has one of each, by its observer's name; to be called once fixed.

    Scales per channel are tensors of the graph; these are numbers in its text, which a saved model keeps as data.
    """
    found: dict[str, Json] = {}
    for node in prepared.graph.nodes:
        if observes(node):
            observer: Any = prepared.get_submodule(str(node.target))
            if getattr(observer, "ch_axis", None) in (None, -1):
                scale, zero_point = observer.calculate_qparams()
                found[str(node.target)] = [float(scale), int(zero_point)]
    return found


def set_per_tensor_scales(prepared: GraphModule, scales: Mapping[str, Json]) -> None:
    """Puts what `per_tensor_scales` gave in the place of the observers."""
    for name, (scale, zero_point) in scales.items():
        observer = prepared.get_submodule(name)
        known = KnownScales(observer, torch.tensor([scale]), torch.tensor([zero_point], dtype=torch.int32))
        setattr(prepared, name, known)


def weight_scales(graph: GraphModule) -> dict[str, list[float]]:
    """Layer -> the scales of its weight, one per output channel or a single one, as a converted graph holds them."""
    found: dict[str, list[float]] = {}
    for node in graph.graph.nodes:
        if node.target in _QUANTIZE and node.args[0].op == "get_attr":
            scale = node.args[1]
            found[_consumer(node)] = [float(scale)] if isinstance(scale, float) else attribute(graph, scale).tolist()
    return found


def observes(node: Node) -> bool:
    """Whether a node of a prepared graph is an observer, or what stands in its place."""
    return node.op == "call_module" and str(node.target).startswith("activation_post_process")


def _add_bias(graph: GraphModule, layer: Weighted) -> None:
    channels = layer.node.meta["val"].shape[-1 if layer.node.target is torch.ops.aten.linear.default else 1]
    name = f"{layer.weight.replace('.', '_')}_bias"
    graph.register_parameter(name, nn.Parameter(torch.zeros(channels), requires_grad=False))
    with graph.graph.inserting_before(layer.node):
        bias = graph.graph.get_attr(name)
    layer.node.args = (*layer.node.args[:2], bias, *layer.node.args[3:])


def _consumer(node: Node) -> str:
    user = node
    while "quantize" in str(user.target):
        user = next(iter(user.users))
    return layer_of(user)


def _exported(module: nn.Module, args: tuple[Any, ...], shapes: tuple[Any, ...]) -> Any:
    try:
        return torch.export.export(module, args, dynamic_shapes=shapes)
    except RuntimeError as error:
        if "modified inplace" not in str(error):
            raise
    fast = torch.backends.mha.get_fastpath_enabled()  # which torch takes without gradients, and cannot be traced
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():  # with gradients no piece of `chunk` may be written into
            return torch.export.export(module, args, dynamic_shapes=shapes)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
