"""Palettes: the weights of a layer share a table of few values, found by k-means, and the file stores places in it.

Han et al. 2016, "Deep Compression", arXiv:1510.00149, section 3: one table for each layer, by k-means that begins with
centers at equal distances between the smallest weight and the largest (section 3.2). The table is not trained.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from paring.core.codes import Stored
from paring.core.model import Model
from paring.core.step import Context, Phase
from paring.steps.quantize.scheme import StoredConfig

_ROUNDS = 100  # of k-means at most; it ends earlier where no weight changes its center


class PaletteConfig(StoredConfig):
    """Options of `quantize.palette`.

    Attributes:
        bits: of a place in the table, which has 16, 64 or 256 values then. A layer with no more weights stays as it is.
    """

    bits: Literal[4, 6, 8] = 6


class QuantizePalette:
    """Stores weights as places in a table of values that each layer has; computing is in float."""

    name: ClassVar[str] = "quantize.palette"
    phase: ClassVar[Phase] = Phase.QUANTIZATION
    Config: ClassVar[type[PaletteConfig]] = PaletteConfig

    def apply(self, model: Model, config: PaletteConfig, context: Context) -> Model:
        """The model with each weight at the nearest value of its layer's table. Zeros stay zeros.

        Raises:
            ParingError: no layer can be stored so, the model cannot be traced or is quantized already, or the targets
                lack such weights.
            UnknownName: a pattern matches no layer.
        """
        from paring.steps.quantize import lowbit

        dtype = cast("Stored", f"palette{config.bits}")
        wanted = lowbit.Wanted(dtype, only=config.only, keep_float=config.keep_float)
        return lowbit.store(model, self.name, config, wanted, context.limits)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers whose weights can be stored so; others with the reason why they stay in float."""
        from paring.steps.quantize import lowbit

        kinds = ("linear", "conv", "depthwise", "transposed", "embedding")
        return lowbit.acts_on(model, lowbit.Wanted("palette6"), kinds)


def table_of(weight: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """At most 2^bits values for a weight of any shape, ascending; 0 among them if it is among the weights."""
    values = np.sort(weight.reshape(-1).astype(np.float64))
    others = values[values != 0]
    zeros = len(others) < len(values)
    found = _centers(others, 2**bits - zeros)
    return np.unique(np.append(found, 0.0) if zeros else found).astype(np.float32)


def nearest(weight: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each weight's nearest value in an ascending table; 0 where it is 0 and the table has it."""
    between = (table[1:].astype(np.float64) + table[:-1]) / 2
    found: NDArray[np.float32] = table[np.searchsorted(between, weight.astype(np.float64))]
    return found


def _centers(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Of k-means on ascending values: with one dimension a cluster is a stretch, and its sum a difference of two."""
    distinct = np.unique(values)
    if len(distinct) <= count:
        return distinct
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centers = np.linspace(values[0], values[-1], count)
    for _ in range(_ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(values, (centers[1:] + centers[:-1]) / 2), [len(values)]])
        sizes = np.diff(ends)
        moved = np.where(sizes > 0, np.diff(sums[ends]) / np.maximum(sizes, 1), centers)
        if np.array_equal(moved, centers):
            break
        centers = moved
    return centers
