"""How an exported file stores the weight of a layer in few bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from paring.core.model import Json

Stored = Literal["int8", "int4", "float16"]
LARGEST = {"int8": 127, "int4": 7}


@dataclass(frozen=True, slots=True)
class Codes:
    """The value of an invariant `codes`: the weight is float32, and every number in it is one that the file can hold.

    Attributes:
        dtype: of the stored weight. Integers are symmetric, in [−127, 127] or [−7, 7].
        activations: `dynamic` where the runtime quantizes the layer's input at each inference, so that the layer
            computes on integers; `float32` where it computes on floats.
        scales: of integers, weight = scale × code in float32: one for each channel, or for each group of a channel,
            row by row. Empty for float16.
        axis: of the weight that counts the channels.
        block: size of a group along the other axis of a matrix; 0 for one scale per channel.
    """

    dtype: Stored
    activations: Literal["dynamic", "float32"] = "float32"
    scales: tuple[float, ...] = ()
    axis: int = 0
    block: int = 0

    def of(self, weight: NDArray[np.float32]) -> NDArray[np.int8 | np.float16] | None:
        """What the file stores of `weight` (float32), in its shape; None if it holds a number that the file cannot."""
        if self.dtype == "float16":
            with np.errstate(over="ignore"):
                half = weight.astype(np.float16)
            return half if np.array_equal(half.astype(np.float32), weight) else None
        channels = np.moveaxis(weight, self.axis, 0)
        groups = channels.reshape(len(self.scales), -1)
        scales = np.array(self.scales, np.float32)[:, None]
        codes = np.rint(groups / scales)
        if np.abs(codes).max(initial=0) > LARGEST[self.dtype] or not np.array_equal(codes * scales, groups):
            return None
        found: NDArray[np.int8] = np.moveaxis(codes.reshape(channels.shape), 0, self.axis).astype(np.int8)
        return found

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        return {**asdict(self), "scales": list(self.scales)}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Codes:
        """The inverse of `as_json`."""
        return cls(**{**data, "scales": tuple(data["scales"])})
