"""Which layer takes how many bits: plain data, kept in a saved model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from paring.core.model import Json
from paring.core.step import StepConfig

Weights = Literal["float32", "int8", "int4"]
Activations = Literal["float32", "int8", "int16"]
BITS = {"int4": 4, "int8": 8, "int16": 16}


class Precision(StepConfig):
    """What one layer computes with.

    Attributes:
        weights: type of its weights.
        activations: type of its inputs and of its output.
    """

    weights: Weights = "int8"
    activations: Activations = "int8"


class LayerChoice(StepConfig):
    """What one layer computes with, where that is not what the others do.

    Attributes:
        weights: type of its weights; None for that of the step.
        activations: type of its inputs and its output; None for that of the step.
    """

    weights: Weights | None = None
    activations: Activations | None = None


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
    granularity: Literal["channel", "tensor"] = "channel"
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
