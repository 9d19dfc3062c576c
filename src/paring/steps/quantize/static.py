"""Static quantization after training: int8 weights and activations, scales from calibration samples.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv:1712.05877: r = S (q − Z), equation 1; batch norm is folded first (section 3.2). Per-channel weights:
Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from paring.core.errors import ParingError, UnknownName
from paring.core.model import Edit, Event, Invariant, Json, Model
from paring.core.step import Context, Phase, StepConfig

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

    from paring.steps.quantize.annotate import Annotator


class Calibration(StepConfig):
    """How activations get their ranges.

    Attributes:
        method: `minmax` takes the extremes; `mse` the range with the smallest squared error.
        samples: how many of the calibration split.
    """

    method: Literal["minmax", "mse"] = "minmax"
    samples: int = Field(default=256, ge=1)


class StaticConfig(StepConfig):
    """Options of `quantize.static`.

    Attributes:
        weights: `int8`, one scale per output channel.
        activations: `int8`, one scale and zero point per tensor.
        calibration: how activations get their ranges.
        keep_float: shell patterns on names of layers that stay in float.
    """

    weights: Literal["int8"] = "int8"
    activations: Literal["int8"] = "int8"
    calibration: Calibration = Calibration()
    keep_float: tuple[str, ...] = ()


class QuantizeStatic:
    """`quantize.static`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "quantize.static"
    phase: ClassVar[Phase] = Phase.QUANTIZATION
    Config: ClassVar[type[StepConfig]] = StaticConfig

    def apply(self, model: Model, config: StaticConfig, context: Context) -> Model:
        """The model with int8 scales fixed.

        Raises:
            ParingError: the target cannot execute int8, the model cannot be traced or is quantized already, a pattern
                matches no layer, the calibration split is too small or yields NaN.
        """
        from paring.steps.quantize import graph

        self._refuse(model, config, context)
        kept = _patterns(config.keep_float, [name for name, _ in model.module.named_modules() if name])
        annotator = _annotator(config.calibration.method, kept)
        prepared = graph.prepare(graph.capture(model), annotator)
        _calibrate(prepared, model, config.calibration.samples, context)
        scales = graph.activation_scales(prepared)
        converted = graph.convert(prepared)
        weights = graph.weight_scales(converted)
        if not weights:
            raise ParingError(
                "no layer could be quantized: " + "; ".join(f"{s.layer}: {s.reason}" for s in annotator.skipped[:3]),
                f"{self.name} of {model.source}",
                "leave the step out, or loosen keep_float",
            )
        return model.changed(
            converted,
            Event(
                self.name,
                config.model_dump(mode="json"),
                f"{len(weights)} layers to int8, {len(scales)} activation tensors calibrated on "
                f"{config.calibration.samples} samples ({config.calibration.method})",
                tuple(dict.fromkeys(annotator.skipped)),
            ),
            edits=(
                Edit(self.name, {"method": config.calibration.method, "keep_float": list(kept), "activations": scales}),
            ),
            invariants=tuple(Invariant("scale", layer, channels) for layer, channels in weights.items()),
        )

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers whose weights become int8; others with the reason why they stay in float."""
        from paring.steps.quantize import graph

        if model.quantized:
            return {i.layer: "quantized already" for i in model.invariants if i.kind == "scale"}
        annotator = _annotator("minmax", ())
        graph.prepare(graph.capture(model), annotator)
        return {**{one.layer: one.reason for one in annotator.skipped}, **dict.fromkeys(annotator.layers)}

    def _refuse(self, model: Model, config: StaticConfig, context: Context) -> None:
        if model.quantized:
            raise ParingError("the model is quantized already", self.name, "keep one quantization step in the recipe")
        for what, kind, known in (
            ("weights", config.weights, context.limits.weights),
            ("activations", config.activations, context.limits.activations),
        ):
            if kind not in known:
                raise ParingError(
                    f"the targets cannot execute {kind} {what}", self.name, f"{what}: one of {', '.join(sorted(known))}"
                )
        held = context.task.size("calibration")
        if held < config.calibration.samples:
            raise ParingError(
                f"{config.calibration.samples} calibration samples wanted, the calibration split of "
                f"{context.task.name} holds {held}",
                self.name,
                f"calibration: {{samples: {held}}} or less" if held else "give the data set more training samples",
            )


def replay(model: Model, data: Mapping[str, Json]) -> "nn.Module":
    """The quantized graph of `model` again; its weights and their scales come with the saved tensors afterwards."""
    import torch

    from paring.steps.quantize import graph

    prepared = graph.prepare(graph.capture(model), _annotator(data["method"], tuple(data["keep_float"])))
    graph.set_activation_scales(prepared, data["activations"])
    with torch.inference_mode():  # the weights' observers want to have seen a weight
        prepared(*(torch.zeros(spec.sized(1), dtype=getattr(torch, spec.dtype)) for spec in model.inputs))
    return graph.convert(prepared)


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


def _annotator(method: Literal["minmax", "mse"], keep_float: tuple[str, ...]) -> "Annotator":
    from paring.steps.quantize.annotate import Annotator
    from paring.steps.quantize.observers import int8_specs

    def kept(layer: str) -> bool:
        return any(layer == name or layer.startswith(f"{name}.") for name in keep_float)

    return Annotator(int8_specs(method), kept)


def _patterns(patterns: tuple[str, ...], names: list[str]) -> tuple[str, ...]:
    """The names that the patterns match; a pattern without a match is an error."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UnknownName.of("layer", pattern, names, where="quantize.static: keep_float")
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def _calibrate(prepared: "GraphModule", model: Model, samples: int, context: Context) -> None:
    import torch

    from paring.steps.quantize import graph

    with torch.inference_mode(), context.progress.bar("calibrate", samples) as advance:
        for batch in context.task.batches("calibration", 32, limit=samples):
            prepared(*(batch.inputs[spec.name] for spec in model.inputs))
            advance(len(batch.targets), "")
    for name, observer in graph.observers(prepared).items():
        low_high = [getattr(observer, end, torch.zeros(1)) for end in ("min_val", "max_val")]
        if not all(bool(torch.isfinite(end).all()) for end in low_high):
            raise ParingError(
                "calibration saw NaN or infinite values",
                f"quantize.static: {graph.observed_layer(prepared, name)}",
                "look for NaN in the calibration data and in the weights (paring inspect)",
            )
