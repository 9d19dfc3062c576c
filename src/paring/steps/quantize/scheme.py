"""Which layer takes how many bits: plain data, kept in a saved model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from paring.core.model import Json
from paring.core.step import StepConfig

Weights = Literal["float32", "int8", "int4"]
Activations = Literal["float32", "int8", "int16", "int4"]
Granularity = Literal["channel", "tensor"]
BITS = {"int4": 4, "int8": 8, "int16": 16}


class Precision(StepConfig):
    """What one layer computes with.

    Attributes:
        weights: type of its weights.
        activations: type of its inputs and of its output.
        granularity: one scale for each output `channel` of its weight, or one for the whole `tensor`; None for that of
            the scheme.
    """

    weights: Weights = "int8"
    activations: Activations = "int8"
    granularity: Granularity | None = None


class LayerChoice(StepConfig):
    """What one layer computes with, where that is not what the others do.

    Attributes:
        weights: type of its weights; None for that of the step.
        activations: type of its inputs and its output; None for that of the step.
        granularity: one scale for each output `channel` of its weight, or one for the whole `tensor`; None for that of
            the step.
    """

    weights: Weights | None = None
    activations: Activations | None = None
    granularity: Granularity | None = None


class StoredConfig(StepConfig):
    """Which layers a step without calibration stores in fewer bits.

    Patterns are shell patterns on names of layers (`encoder.*`), or `@` and a kind: `@linear`, `@conv`, `@depthwise`,
    `@embedding`, `@first`, `@last`.

    Attributes:
        only: patterns of the layers to store so; all if empty.
        keep_float: patterns of layers that stay in float32.
    """

    only: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()


class LowBitConfig(StoredConfig):
    """Which layers a step without calibration stores as integers, and of how many bits; see `StoredConfig`.

    Attributes:
        weights: `int8` or `int4`.
        ranges: of weights: `minmax` clips none; `mse` takes the range with the smallest squared error; None for `mse`
            of int4 and `minmax` of int8, where clipping gains next to nothing.
        block: size of the groups of weights, along the input axis, that have a scale of their own; 0 for one scale per
            output channel.
    """

    weights: Literal["int8", "int4"] = "int8"
    ranges: Literal["minmax", "mse"] | None = None
    block: int = Field(0, ge=0)


INT8 = Precision()
FLOAT = Precision(weights="float32", activations="float32")


@dataclass(frozen=True)
class Scheme:
    """How a network is quantized.

    Attributes:
        default: of every layer that `layers` does not name.
        layers: name of a layer, or of a module that holds layers -> its own; the longest name that fits counts.
        granularity: one scale for each output `channel` of a weight, or one for the whole `tensor`.
        symmetric: whether activations have zero point 0; those in int16 always have.
    """

    default: Precision = INT8
    layers: Mapping[str, Precision] = field(default_factory=dict)
    granularity: Granularity = "channel"
    symmetric: bool = False

    def of(self, layer: str) -> Precision:
        """What the layer of that name computes with."""
        name = layer
        while name:
            if name in self.layers:
                return self.layers[name]
            name = name.rpartition(".")[0]
        return self.default

    def with_layers(self, layers: Mapping[str, Precision]) -> "Scheme":
        """The scheme with other precisions for some layers."""
        return Scheme(self.default, {**self.layers, **layers}, self.granularity, self.symmetric)

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        return {
            "default": self.default.model_dump(),
            "layers": {name: one.model_dump() for name, one in self.layers.items()},
            "granularity": self.granularity,
            "symmetric": self.symmetric,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> "Scheme":
        """The inverse of `as_json`."""
        layers = {name: Precision.model_validate(one) for name, one in data["layers"].items()}
        return cls(Precision.model_validate(data["default"]), layers, data["granularity"], data["symmetric"])
