"""A network with integer scales fixed: how every quantization step ends, and how its result is saved and rebuilt."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from paring.core.errors import ParingError
from paring.core.model import Edit, Event, Invariant, Json, Model
from paring.core.step import StepConfig
from paring.core.target import Limits
from paring.steps.quantize.scheme import Precision, Scheme
from paring.steps.select import Choosable

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule

    from paring.steps.quantize.annotate import Annotator
    from paring.steps.quantize.calibration import Method

EDIT = "quantize"


def annotator(
    scheme: Scheme,
    activations: "Method" = "minmax",
    weights: Literal["minmax", "mse"] = "minmax",
    percentile: float = 99.99,
) -> "Annotator":
    """What marks the tensors of a graph that the scheme makes integers."""
    from paring.steps.quantize.annotate import Annotator
    from paring.steps.quantize.observers import specs_of

    return Annotator(specs_of(scheme, activations, weights, percentile))


def quantized(
    model: Model,
    prepared: "GraphModule",
    scheme: Scheme,
    marks: "Annotator",
    name: str,
    config: StepConfig,
    told: str,
    *,
    biases: bool = False,
) -> Model:
    """The model that a quantization step returns.

    Args:
        model: that the step was given.
        prepared: its graph with known scales at every tensor that becomes an integer; they are widened where a kernel
            could not count with them.
        scheme: what it was prepared with.
        marks: likewise.
        name: of the step.
        config: of the step.
        told: the end of the line on what was done.
        biases: as `graph.fold` was told.

    Raises:
        ParingError: no layer could be quantized.
    """
    from paring.steps.quantize import graph
    from paring.steps.quantize.widen import widen

    told += widen(prepared)
    scales, activations = graph.per_tensor_scales(prepared), len(graph.observers(prepared))
    converted = graph.convert(prepared)
    weights = graph.weight_scales(converted)
    refuse_float(model, weights, marks, name)
    kinds = [scheme.of(layer) for layer in weights]
    counted = " and ".join(
        f"{sum(kind.weights == one for kind in kinds)} layers to {one}"
        for one in ("int8", "int4")
        if any(kind.weights == one for kind in kinds)
    )
    return model.changed(
        converted,
        Event(
            name,
            config.model_dump(mode="json"),
            f"{counted}, {activations} activation tensors{told}",
            tuple(dict.fromkeys(marks.skipped)),
        ),
        edits=(
            Edit(
                EDIT,
                {"scheme": scheme.as_json(), "biases": biases, "scales": scales, "apart": sorted(marks.apart)},
            ),
        ),
        invariants=tuple(Invariant("scale", layer, channels) for layer, channels in weights.items()),
    )


def slower(scheme: Scheme, there: Iterable[Choosable], limits: Limits) -> str:
    """A word on layers that the targets run, but slower than with wider numbers; empty if there are none."""
    asked = {
        (scheme.of(layer.name).weights, kind, scheme.of(layer.name).activations)
        for layer in there
        for kind in layer.kinds
    }
    found = [
        f"{weights} {kind} layers with {activations} activations"
        for weights, kind, activations in sorted(asked & limits.slow)
    ]
    return f"; slower than with wider numbers: {', '.join(found)}" if found else ""


def replay(model: Model, data: Mapping[str, Json]) -> "nn.Module":
    """The quantized graph of `model` again; its weights and their scales come with the saved tensors afterwards."""
    import torch

    from paring.steps.quantize import graph

    prepared = _prepared(model, data)
    with torch.inference_mode():  # the weights' observers want to have seen a weight
        prepared(*(torch.zeros(spec.sized(1), dtype=getattr(torch, spec.dtype)) for spec in model.inputs))
    return graph.convert(prepared)


def reopened(before: Model, model: Model) -> "tuple[GraphModule, Scheme]":
    """The graph of a quantized model as it was before its numbers were rounded, its scales known.

    Repairs stay in it: weights that were learned on their grid lie on it.

    Args:
        before: the model that was quantized.
        model: what came of it.

    Raises:
        ParingError: the model has no integer scales.
    """
    import torch

    from paring.steps.quantize import graph
    from paring.steps.quantize.observers import KnownScales

    data = next((edit.data for edit in reversed(model.edits) if edit.name == EDIT), None)
    if data is None:
        raise ParingError("holds no integer scales", str(model.source), "name a model that quantize.static has made")
    prepared = _prepared(before, data)
    prepared.load_state_dict({**prepared.state_dict(), **_shared(model.module.state_dict(), prepared.state_dict())})
    scales = {one.layer: one.value for one in model.invariants if one.kind == "scale"}
    for layer in graph.weighted(prepared):
        if layer.observer is not None and layer.name in scales:
            scale = torch.tensor(scales[layer.name])
            known = KnownScales(prepared.get_submodule(layer.observer), scale, torch.zeros_like(scale, dtype=torch.int))
            setattr(prepared, layer.observer, known)
    return prepared, Scheme.from_json(data["scheme"])


def _prepared(model: Model, data: Mapping[str, Json]) -> "GraphModule":
    from paring.steps.quantize import graph

    folded = graph.fold(graph.capture(model, proven=False), biases=data["biases"])
    marks = annotator(Scheme.from_json(data["scheme"]))
    marks.keep_apart(data.get("apart", ()))
    prepared = graph.prepare(folded, marks)
    graph.set_per_tensor_scales(prepared, data["scales"])
    return prepared


def _shared(tensors: "Mapping[str, Tensor]", known: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    return {name: tensor for name, tensor in tensors.items() if name in known and tensor.shape == known[name].shape}


def scale_holds(model: Model, invariant: Invariant) -> str | None:
    """None if the layer still has the scales that were fixed, else what became of them."""
    from torch.fx import GraphModule

    from paring.steps.quantize import graph

    if not isinstance(model.module, GraphModule):
        return "the model is no longer a quantized graph"
    found = graph.weight_scales(model.module).get(invariant.layer)
    if found is None:
        return "its weight is no longer quantized"
    return None if found == invariant.value else "the scales of its weight have changed"


def refuse_quantized(model: Model, where: str) -> None:
    """Raises ParingError if an earlier step has quantized the model."""
    if model.fixed:
        raise ParingError("the model is quantized already", where, "keep one quantization step in the recipe")


def refuse_float(model: Model, layers: Collection[str], marks: "Annotator", name: str) -> None:
    """Raises ParingError if no layer is quantized."""
    if not layers:
        raise ParingError(
            "no layer could be quantized: " + "; ".join(f"{s.layer}: {s.reason}" for s in marks.skipped[:3]),
            f"{name} of {model.source}",
            "leave the step out, or loosen keep_float",
        )


def refuse_unknown(precisions: Iterable[Precision], limits: Limits, where: str) -> None:
    """Raises ParingError if a layer is to compute with numbers that the targets cannot execute."""
    for precision in dict.fromkeys(precisions):
        for what, kind, known in (
            ("weights", precision.weights, limits.weights),
            ("activations", precision.activations, limits.activations),
        ):
            if kind not in known:
                raise ParingError(
                    f"the targets cannot execute {kind} {what}", where, f"{what}: one of {', '.join(sorted(known))}"
                )
