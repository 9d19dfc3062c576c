"""How an exported file stores the weight of a layer in few bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from paring.core.model import Json

Stored = Literal["int8", "int4", "float16", "palette4", "palette6", "palette8"]
LARGEST = {"int8": 127, "int4": 7}


@dataclass(frozen=True, slots=True)
class Codes:
    """The value of an invariant `codes`: the weight is float32, and every number in it is one that the file can hold.

    Attributes:
        dtype: of the stored weight. Integers are symmetric, in [−127, 127] or [−7, 7]; of a palette they are places, of
            4, 6 or 8 bits, in a table.
        activations: `dynamic` where the runtime quantizes the layer's input at each inference, so that the layer
            computes on integers; `float32` where it computes on floats.
        scales: of integers, weight = scale × code in float32: one for each channel, or for each group of a channel,
            row by row. Empty for float16 and palettes.
        axis: of the weight that counts the channels.
        block: size of a group along the other axis of a matrix; 0 for one scale per channel.
        table: of a palette, the float32 values that its codes stand for, ascending; empty for all else.
    """

    dtype: Stored
    activations: Literal["dynamic", "float32"] = "float32"
    scales: tuple[float, ...] = ()
    axis: int = 0
    block: int = 0
    table: tuple[float, ...] = ()

    def of(self, weight: NDArray[np.float32]) -> NDArray[np.int8 | np.uint8 | np.float16] | None:
        """What the file stores of `weight` (float32), in its shape; None if it holds a number that the file cannot."""
        if self.dtype == "float16":
            with np.errstate(over="ignore"):
                half = weight.astype(np.float16)
            return half if np.array_equal(half.astype(np.float32), weight) else None
        if self.table:
            table = np.array(self.table, np.float32)
            places = np.searchsorted(table, weight).clip(max=len(table) - 1).astype(np.uint8)
            return places if np.array_equal(table[places], weight) else None
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
        return {**asdict(self), "scales": list(self.scales), "table": list(self.table)}

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Codes:
        """The inverse of `as_json`."""
        return cls(**{**data, "scales": tuple(data["scales"]), "table": tuple(data.get("table", ()))})
