"""Dynamic quantization: integer weights, and activations quantized by the runtime at each inference; no calibration.

The runtime takes the extremes of each input, row by row where it can, so that the layer multiplies integers: Jacob et
al. 2018, arXiv:1712.05877, for the arithmetic; scales per channel: Krishnamoorthi 2018, arXiv:1806.08342, section 3.1.
"""

from collections.abc import Mapping
from typing import ClassVar

from paring.core.model import Model
from paring.core.step import Context, Phase
from paring.steps.quantize.scheme import LowBitConfig


class DynamicConfig(LowBitConfig):
    """Options of `quantize.dynamic`."""


class QuantizeDynamic:
    """Layers that the targets then run faster compute on integers; all others stay in float, named with the reason."""

    name: ClassVar[str] = "quantize.dynamic"
    phase: ClassVar[Phase] = Phase.QUANTIZATION
    Config: ClassVar[type[DynamicConfig]] = DynamicConfig

    def apply(self, model: Model, config: DynamicConfig, context: Context) -> Model:
        """The model with quantized weights.

        Raises:
            ParingError: no layer can be quantized, the model cannot be traced or is quantized already, or the targets
                lack such weights.
            UnknownName: a pattern matches no layer.
        """
        from paring.steps.quantize import lowbit

        wanted = lowbit.Wanted(config.weights, True, config.ranges, config.block, config.only, config.keep_float)
        return lowbit.store(model, self.name, config, wanted, context.limits)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers that would compute on integers; others with the reason why they stay in float."""
        from paring.steps.quantize import lowbit

        return lowbit.acts_on(model, lowbit.Wanted("int8", dynamic=True), ("linear", "conv", "embedding"))
