"""Weights alone in few bits: the file shrinks, the runtime computes in float as before; no calibration.

Scales per channel: Krishnamoorthi 2018, arXiv:1806.08342, section 3.1; per group of a channel: Shen et al. 2020,
"Q-BERT", arXiv:1909.05840, section 3.2.
"""

from collections.abc import Mapping
from typing import ClassVar

from paring.core.model import Model
from paring.core.step import Context, Phase
from paring.steps.quantize.scheme import LowBitConfig


class WeightsConfig(LowBitConfig):
    """Options of `quantize.weights`."""


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
