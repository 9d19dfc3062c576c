"""Weights in float16: half the size, with errors of 2⁻¹¹ at most, relative to each weight; no calibration."""

from collections.abc import Mapping
from typing import ClassVar

from paring.core.model import Model
from paring.core.step import Context, Phase
from paring.steps.quantize.scheme import StoredConfig


class Float16Config(StoredConfig):
    """Options of `quantize.float16`."""


class QuantizeFloat16:
    """Stores weights in float16; biases, norms and activations stay in float32."""

    name: ClassVar[str] = "quantize.float16"
    phase: ClassVar[Phase] = Phase.QUANTIZATION
    Config: ClassVar[type[Float16Config]] = Float16Config

    def apply(self, model: Model, config: Float16Config, context: Context) -> Model:
        """The model with rounded weights; layers whose weights are too large or too small for float16 stay in float32.

        Raises:
            ParingError: no layer can be stored so, the model cannot be traced or is quantized already, or the targets
                lack such weights.
            UnknownName: a pattern matches no layer.
        """
        from paring.steps.quantize import lowbit

        wanted = lowbit.Wanted("float16", only=config.only, keep_float=config.keep_float)
        return lowbit.store(model, self.name, config, wanted, context.limits)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers whose weights can be stored so; others with the reason why they stay in float32."""
        from paring.steps.quantize import lowbit

        kinds = ("linear", "conv", "depthwise", "transposed", "embedding")
        return lowbit.acts_on(model, lowbit.Wanted("float16"), kinds)
