"""Static quantization after training: integer weights and activations, scales from calibration samples.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv:1712.05877: r = S (q − Z), equation 1; batch norm is folded first (section 3.2). Per-channel weights:
Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.once import known
from paring.core.step import Context, Phase, StepConfig
from paring.steps.quantize.ladder import LadderConfig
from paring.steps.quantize.mixed import MixedConfig
from paring.steps.quantize.repairs.options import Chosen, chosen
from paring.steps.quantize.scheme import FLOAT, Granularity, LayerChoice, Precision, Scheme
from paring.steps.select import select

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

    from paring.steps.quantize.annotate import Annotator


ROUNDING = frozenset({"adaround", "brecq"})  # repairs that learn how weights are rounded


class Calibration(StepConfig):
    """How ranges are found.

    Attributes:
        method: of activations: `minmax` takes the extremes, `moving_average` those of a batch, averaged; `percentile`
            leaves out the values farthest out; `entropy` keeps most information, `mse` has the smallest squared error.
        percentile: of the values that are not zero, how many of 100 the method of that name keeps inside.
        weights: of weights: likewise.
        samples: how many of the calibration split.
    """

    method: Literal["minmax", "moving_average", "percentile", "entropy", "mse"] = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    weights: Literal["minmax", "mse"] = "mse"
    samples: int = Field(default=256, ge=1)


class SchemeConfig(StepConfig):
    """What each layer computes with, and how its ranges are found: options of every step that fixes scales.

    Patterns are shell patterns on names of layers (`blocks.3.*`), or `@` and a kind: `@first`, `@last`, `@conv`,
    `@depthwise`, `@linear`.

    Attributes:
        weights: `int8` or `int4`.
        activations: `int8`, `int16` or `int4`.
        granularity: one scale for each output `channel` of a weight, or one for the whole `tensor`. `auto` is
            `channel`, but for dense layers where each scale takes memory on the targets and one loses nothing.
        symmetric: activations with zero point 0.
        calibration: how ranges are found.
        layers: pattern -> other types for some layers; a later one counts more.
        keep_float: patterns of layers that stay in float.
    """

    weights: Literal["int8", "int4"] = "int8"
    activations: Literal["int8", "int16", "int4"] = "int8"
    granularity: Literal["auto", "channel", "tensor"] = "auto"
    symmetric: bool = False
    calibration: Calibration = Calibration()
    layers: Mapping[str, LayerChoice] = Field(default_factory=dict)
    keep_float: tuple[str, ...] = ()

    @property
    def default_precision(self) -> Precision:
        """Of every layer that no pattern chooses."""
        return Precision(weights=self.weights, activations=self.activations)

    @property
    def precisions(self) -> dict[str, Precision]:
        """Pattern -> what the layers that it chooses compute with."""
        return {
            pattern: Precision(
                weights=choice.weights or self.weights,
                activations=choice.activations or self.activations,
                granularity=choice.granularity,
            )
            for pattern, choice in self.layers.items()
        }


class StaticConfig(SchemeConfig):
    """Options of `quantize.static`.

    Attributes:
        repairs: what is done against the loss, in this order, each a name or a name with its options
            (`{adaround: {iterations: 2000}}`); see the README of this folder.
        mixed: choose the bits of each layer within a limit; those that `layers` or `keep_float` choose keep theirs.
        ladder: what is tried by itself where the recipe's `require: accuracy_drop` does not hold; None for nothing.
    """

    repairs: tuple[Chosen, ...] = ()
    mixed: MixedConfig | None = None
    ladder: LadderConfig | None = LadderConfig()

    @field_validator("repairs")
    @classmethod
    def _repairs_there_are(cls, repairs: tuple[Chosen, ...]) -> tuple[Chosen, ...]:
        chosen(repairs)
        return repairs


class QuantizeStatic:
    """`quantize.static`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "quantize.static"
    phase: ClassVar[Phase] = Phase.QUANTIZATION
    Config: ClassVar[type[StepConfig]] = StaticConfig

    def apply(self, model: Model, config: StaticConfig, context: Context) -> Model:
        """The model with integer scales fixed.

        Raises:
            ParingError: the target cannot execute such numbers, the model cannot be traced or is quantized already, a
                pattern matches no layer, the calibration split is too small or yields NaN.
        """
        from paring.steps.quantize import mixed, rungs

        refuse(model, config, context, self.name)
        chosen, told = mixed.assigned(model, config, context, self.name)
        if context.accuracy_drop is not None and config.ladder is not None:
            found = rungs.climbed(model, chosen, context.accuracy_drop, context)
        else:
            found = scaled(model, chosen, context).model()
        return found.told(told)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers whose weights become int8; others with the reason why they stay in float."""
        return quantizable(model)


@dataclass(frozen=True)
class Scaled:
    """A network with its scales known, not yet rounded.

    Attributes:
        source: the model that it is made of.
        config: how.
        prepared: the graph, with known scales at every tensor that becomes an integer.
        scheme: the precision of every layer.
        marks: what is quantized, and what is not.
        told: the end of the line on what was done.
    """

    source: Model
    config: StaticConfig
    prepared: "GraphModule"
    scheme: Scheme
    marks: "Annotator"
    told: str

    def model(self) -> Model:
        """The quantized model; the prepared graph is used up."""
        from paring.steps.quantize import fixed

        return fixed.quantized(
            self.source, self.prepared, self.scheme, self.marks, QuantizeStatic.name, self.config, self.told,
            biases=bool(self.config.repairs),
        )  # fmt: skip


def scaled(model: Model, config: StaticConfig, context: Context) -> Scaled:
    """Finds the scales of a model.

    Raises:
        ParingError: as `QuantizeStatic.apply`.
    """
    from paring.steps.quantize import dense, fixed, graph, hints
    from paring.steps.quantize.annotate import choosable
    from paring.steps.quantize.joins import calibrated
    from paring.steps.quantize.repairs import Repairs

    ranges, name = config.calibration, QuantizeStatic.name
    folded = graph.fold(graph.capture(model), biases=bool(config.repairs), of=model)
    scheme = scheme_of(config, folded, name)
    slower = fixed.slower(scheme, choosable(folded), context.limits)
    repairs = Repairs(config.repairs, model, ranges.samples, context)
    repairs.before(folded)
    marks = fixed.annotator(scheme, ranges.method, ranges.weights, ranges.percentile)
    prepared, warning = calibrated(folded, marks, model, ranges.samples, context, name)
    advice = hints.told(prepared, config.symmetric)
    graph.fix_activations(prepared)
    scheme, shared = dense.share(
        prepared, scheme, _shareable(config, context), ranges.weights, model, ranges.samples, context, name,
        rounded=not ROUNDING.intersection(repair for repair, _ in chosen(config.repairs)),
    )  # fmt: skip
    repairs.after(prepared)
    samples = f", calibrated on {ranges.samples} samples ({ranges.method})"
    told = f"{samples}{warning and f'; {warning}'}{shared}{repairs.told}{slower}{advice}"
    return Scaled(model, config, prepared, scheme, marks, told)


def _shareable(config: SchemeConfig, context: Context) -> frozenset[str]:
    """Kinds of layers that may share one scale where the recipe leaves it open."""
    return context.limits.costly_scales if config.granularity == "auto" else frozenset()


def quantizable(model: Model) -> dict[str, str | None]:
    """Layers whose weights become integers -> None; others -> the reason why they stay in float."""
    if model.quantized:
        return {i.layer: "quantized already" for i in model.invariants if i.kind == "scale"}
    return dict(known("quantizable", model, lambda: _quantizable(model)))


def _quantizable(model: Model) -> dict[str, str | None]:
    from paring.steps.quantize import fixed, graph

    annotator = fixed.annotator(Scheme())
    graph.prepare(graph.fold(graph.capture(model, proven=False)), annotator)
    return {**{one.layer: one.reason for one in annotator.skipped}, **dict.fromkeys(annotator.layers)}


def scheme_of(config: SchemeConfig, folded: "GraphModule", where: str) -> Scheme:
    """The precision of every layer, as the recipe asks.

    Raises:
        UnknownName: a pattern matches no layer.
    """
    from paring.steps.quantize.annotate import choosable

    there = choosable(folded)
    layers: dict[str, Precision] = {}
    for pattern, precision in config.precisions.items():
        layers |= dict.fromkeys(select([pattern], there, f"{where}: layers"), precision)
    layers |= dict.fromkeys(select(config.keep_float, there, f"{where}: keep_float"), FLOAT)
    granularity: Granularity = "tensor" if config.granularity == "tensor" else "channel"
    return Scheme(config.default_precision, layers, granularity, config.symmetric)


def refuse(model: Model, config: SchemeConfig, context: Context, where: str) -> None:
    """Raises ParingError if the model is quantized already, the targets cannot do it, or samples are too few."""
    from paring.steps.quantize import fixed

    fixed.refuse_quantized(model, where)
    fixed.refuse_unknown([config.default_precision, *config.precisions.values()], context.limits, where)
    if config.keep_float and "float32" not in context.limits.activations:
        raise ParingError("the targets compute on integers alone", f"{where}: keep_float", "leave keep_float out")
    finest = {config.granularity, *(one.granularity or config.granularity for one in config.precisions.values())}
    if finest != {"tensor"} and not context.limits.per_channel:
        raise ParingError("the targets have no scales per channel", where, "granularity: tensor")
    refuse_small(config.calibration.samples, context, where)


def shown(model: Model, context: Context, samples: int) -> "list[tuple[Tensor, ...]]":
    """Some samples of the calibration split, as the model's module takes them."""
    from paring.steps.quantize.calibrate import fed

    return [fed(model, batch, QuantizeStatic.name) for batch in context.task.batches("calibration", 32, limit=samples)]


def refuse_small(samples: int, context: Context, where: str) -> None:
    """Raises ParingError if the calibration split holds fewer samples than wanted."""
    held = context.task.size("calibration")
    if held < samples:
        raise ParingError(
            f"{samples} calibration samples wanted, the calibration split of {context.task.name} holds {held}",
            where,
            f"calibration: {{samples: {held}}} or less" if held else "give the data set more training samples",
        )
