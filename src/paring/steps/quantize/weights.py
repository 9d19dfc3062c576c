"""Weights alone in few bits: the file shrinks, the runtime computes in float as before; no calibration.

Scales per channel: Krishnamoorthi 2018, arXiv:1806.08342, section 3.1; per group of a channel: Shen et al. 2020,
"Q-BERT", arXiv:1909.05840, section 3.2.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from paring.core.model import Model
from paring.core.step import Context, Phase, StepConfig


class WeightsConfig(StepConfig):
    """Options of `quantize.weights`.

    Patterns are shell patterns on names of layers (`encoder.*`), or `@` and a kind: `@linear`, `@conv`, `@depthwise`,
    `@embedding`, `@first`, `@last`.

    Attributes:
        weights: `int8` or `int4`.
        ranges: `minmax` clips no weight; `mse` takes the range with the smallest squared error; None for `mse` of int4
            and `minmax` of int8, where clipping gains next to nothing.
        block: size of the groups of weights, along the input axis, that have a scale of their own; 0 for one scale per
            output channel.
        only: patterns of the layers to store so; all if empty.
        keep_float: patterns of layers that stay in float.
    """

    weights: Literal["int8", "int4"] = "int8"
    ranges: Literal["minmax", "mse"] | None = None
    block: int = Field(0, ge=0)
    only: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()


class QuantizeWeights:
    """Stores weights as integers that are multiplied out again before they are used."""

    name: ClassVar[str] = "quantize.weights"
    phase: ClassVar[Phase] = Phase.QUANTIZATION
    Config: ClassVar[type[WeightsConfig]] = WeightsConfig

    def apply(self, model: Model, config: WeightsConfig, context: Context) -> Model:
        """The model with quantized weights.

        Raises:
            ParingError: no layer can be stored so, the model cannot be traced or is quantized already, or the targets
                lack such weights.
            UnknownName: a pattern matches no layer.
        """
        from paring.steps.quantize import lowbit

        wanted = lowbit.Wanted(config.weights, False, config.ranges, config.block, config.only, config.keep_float)
        return lowbit.store(model, self.name, config, wanted, context.limits)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers whose weights can be stored so; others with the reason why they stay in float."""
        from paring.steps.quantize import lowbit

        return lowbit.acts_on(model, lowbit.Wanted("int8"), ("linear", "conv", "depthwise", "transposed", "embedding"))
