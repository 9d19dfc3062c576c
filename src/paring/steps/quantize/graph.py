"""A model as a graph of ATen operators, and such a graph with int8 scales in it (torchao PT2E)."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch.fx import GraphModule, Node

from paring.core.errors import ParingError
from paring.core.model import Json, Model
from paring.core.quiet import quiet

with quiet():  # torchao tells of its GPU kernels when it is imported
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from paring.steps.quantize.annotate import Annotator, layer_of
from paring.steps.quantize.observers import KnownScales

_per_channel = "quantize_per_channel"


def capture(model: Model) -> GraphModule:
    """The graph of a model, free dimensions kept free. The model's tensors are shared, never written.

    Raises:
        ParingError: `torch.export` cannot trace it; the message carries its reason.
    """
    args = tuple(torch.zeros(spec.sized(2), dtype=getattr(torch, spec.dtype)) for spec in model.inputs)
    names = {size for spec in model.inputs for size in spec.shape if isinstance(size, str)}
    free = {name: torch.export.Dim(name, min=1, max=2**16) for name in sorted(names)}
    shapes: tuple[Any, ...] = tuple(
        {axis: free[size] for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in model.inputs
    )
    if any(one.kind is one.VAR_POSITIONAL for one in signature(model.module.forward).parameters.values()):
        shapes = (shapes,)  # of `forward(*inputs)` torch wants them as one argument
    try:
        with quiet():
            graph: GraphModule = torch.export.export(model.module, args, dynamic_shapes=shapes).module()
    except Exception as error:  # torch.export raises many kinds
        raise ParingError(
            f"torch.export cannot trace it: {_first_line(error)}",
            str(model.source),
            "avoid Python control flow that depends on values, and shapes fixed to one batch size",
        ) from error
    return graph


def prepare(graph: GraphModule, annotator: Annotator) -> GraphModule:
    """The graph with batch norm folded and an observer at every tensor that becomes int8."""
    with quiet():
        prepared: GraphModule = prepare_pt2e(graph, annotator)
    return prepared


def convert(prepared: GraphModule) -> GraphModule:
    """The graph with its scales: quantize–dequantize pairs, weights still stored in float (an export folds them)."""
    with quiet():
        converted: GraphModule = convert_pt2e(prepared, fold_quantize=False)
    for module in converted.modules():
        module.training = False  # an exported graph refuses eval(), though nothing in it depends on the mode
    return converted


def observers(prepared: GraphModule) -> dict[str, Any]:
    """The observers of a prepared graph by name, in the order of the graph; a shared one comes once a name."""
    return {
        str(node.target): prepared.get_submodule(str(node.target))
        for node in prepared.graph.nodes
        if node.op == "call_module" and str(node.target).startswith("activation_post_process")
    }


def observed_layer(prepared: GraphModule, observer: str) -> str:
    """The layer that an observer watches."""
    for node in prepared.graph.nodes:
        if node.op == "call_module" and node.target == observer:
            source = node.args[0]
            return "the input" if source.op == "placeholder" else layer_of(source)
    raise KeyError(observer)


def activation_scales(prepared: GraphModule) -> dict[str, Json]:
    """Scale and zero point of every activation, after calibration, by the observer's name."""
    found: dict[str, Json] = {}
    for name, observer in observers(prepared).items():
        if getattr(observer, "ch_axis", None) in (None, -1):
            scale, zero_point = observer.calculate_qparams()
            found[name] = [float(scale), int(zero_point)]
    return found


def set_activation_scales(prepared: GraphModule, scales: Mapping[str, Json]) -> None:
    """Puts saved scales in the place of the activations' observers."""
    for name, observer in observers(prepared).items():
        if name in scales:
            scale, zero_point = scales[name]
            known = KnownScales(observer, torch.tensor([scale]), torch.tensor([zero_point], dtype=torch.int32))
            setattr(prepared, name, known)


def weight_scales(graph: GraphModule) -> dict[str, list[float]]:
    """Layer -> the scales of its weight, one per output channel, as a converted graph holds them."""
    found: dict[str, list[float]] = {}
    for node in graph.graph.nodes:
        if _per_channel in str(node.target) and "dequantize" not in str(node.target):
            scales = _attribute(graph, node.args[1])
            found[_consumer(node)] = [float(scale) for scale in scales]
    return found


def _consumer(node: Node) -> str:
    user = node
    while "quantize" in str(user.target):
        user = next(iter(user.users))
    return layer_of(user)


def _attribute(graph: GraphModule, node: Any) -> Any:
    found: Any = graph
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
