"""The range that holds a share of the values.

McKinstry et al. 2018, "Discovering Low-Precision Networks Close to Full-Precision Networks for Efficient Embedded
Inference", arXiv:1809.04191, section 3; Wu et al. 2020, arXiv:2004.09602, section 3.3.
"""

from typing import Any

import torch
from torch import Tensor

from paring.steps.quantize.calibration.histogram import HistogramObserver


class PercentileObserver(HistogramObserver):
    """Clips the values farthest out.

    Args:
        percentile: of the values that are not zero, how many of 100 lie inside; what is left is shared by both ends,
            where there are values of both signs.
    """

    def __init__(self, percentile: float = 99.99, **options: Any) -> None:
        super().__init__(**options)
        self.percentile = percentile

    def range(self) -> tuple[float, float]:
        """The percentiles, never beyond the extremes."""
        low, high = float(self.min_val), float(self.max_val)
        centres, counts = self.histogram.centres, self.histogram.counts
        outside = 1 - self.percentile / 100
        if self.symmetric:
            order = centres.abs().argsort()
            end = self._quantile(centres.abs()[order], counts[order], 1 - outside)
            return -end, end
        if low < 0 < high:
            outside /= 2
        lowest = self._quantile(centres, counts, outside) - self.histogram.width / 2 if low < 0 else 0.0
        highest = self._quantile(centres, counts, 1 - outside) + self.histogram.width / 2 if high > 0 else 0.0
        return max(low, lowest), min(high, highest)

    def _quantile(self, values: Tensor, counts: Tensor, share: float) -> float:
        reached = counts.cumsum(0) / counts.sum()
        place = torch.searchsorted(reached, torch.tensor(share, dtype=torch.float64)).clamp_max(len(values) - 1)
        return float(values[place])
