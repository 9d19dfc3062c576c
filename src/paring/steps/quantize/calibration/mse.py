"""The range with the smallest squared error.

Sung et al. 2015, "Resiliency of Deep Neural Networks under Quantization", arXiv:1511.06488, section 3.1 ("L2 error
minimization"); of activations as in Banner et al. 2019, arXiv:1810.05723, section 3, by search instead of a closed
form.
"""

from torch import Tensor

from paring.steps.quantize.calibration.histogram import HistogramObserver
from paring.steps.quantize.calibration.search import best_range


class MseObserver(HistogramObserver):
    """Clips where that makes what remains finer by more than it loses."""

    def range(self) -> tuple[float, float]:
        """Of all candidates, the one with the smallest squared error over the histogram."""
        used = self.histogram.counts > 0
        centres, counts = self.histogram.centres[used], self.histogram.counts[used]

        def loss(lows: Tensor, highs: Tensor) -> Tensor:
            scale = ((highs - lows) / self.levels).clamp_min(float(self.eps))[:, None]
            zero = (-lows[:, None] / scale).round()
            codes = ((centres / scale).round_() + zero).clamp_(0, self.levels) - zero
            return (codes * scale - centres).square_() @ counts

        return best_range(float(self.min_val), float(self.max_val), loss, symmetric=self.symmetric)
