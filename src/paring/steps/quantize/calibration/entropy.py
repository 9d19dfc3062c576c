"""The range that keeps most information: the smallest Kullback–Leibler divergence.

Migacz 2017, "8-bit Inference with TensorRT", GPU Technology Conference, slides 29 to 38: the histogram, clipped, is
compared with what as many levels as there are codes make of it. Both ends are searched here, as the codes need not be
symmetric, and zeros are left out: see `Histogram`.
"""

import torch
from torch import Tensor

from paring.steps.quantize.calibration.histogram import HistogramObserver
from paring.steps.quantize.calibration.search import best_range

_SMALLEST = 1e-10  # in the place of a probability 0 in the divisor


class EntropyObserver(HistogramObserver):
    """Clips where the distribution that the codes can tell is most like the true one."""

    def range(self) -> tuple[float, float]:
        """Of all candidates, the one with the smallest divergence."""
        centres, counts = self.histogram.centres, self.histogram.counts

        def loss(lows: Tensor, highs: Tensor) -> Tensor:
            ends = zip(lows.tolist(), highs.tolist(), strict=True)
            return torch.stack([divergence(centres, counts, low, high, self.levels + 1) for low, high in ends])

        return best_range(float(self.min_val), float(self.max_val), loss, symmetric=self.symmetric)


def divergence(centres: Tensor, counts: Tensor, low: float, high: float, levels: int) -> Tensor:
    """KL(P‖Q): P the histogram with what lies outside moved to the ends, Q what `levels` levels tell of the inside."""
    inside = torch.nonzero((centres >= low) & (centres <= high)).flatten()
    if not len(inside):
        return torch.tensor(torch.inf, dtype=torch.float64)
    first, last = int(inside[0]), int(inside[-1]) + 1
    kept = counts[first:last]
    clipped = kept.clone()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last:].sum()
    level = ((centres[first:last] - low) / max(high - low, 1e-300) * levels).long().clamp_(0, levels - 1)
    filled = (kept > 0).double()
    total = torch.zeros(levels, dtype=torch.float64).index_add_(0, level, kept)
    bins = torch.zeros(levels, dtype=torch.float64).index_add_(0, level, filled)
    told = (total / bins.clamp_min(1))[level] * filled
    p, q = clipped / clipped.sum(), (told / told.sum().clamp_min(_SMALLEST)).clamp_min(_SMALLEST)
    found: Tensor = torch.special.xlogy(p, p / q).sum()
    return found
