"""How ranges of activations are found; one method, one file."""

from typing import Any, Literal

from paring.steps.quantize.calibration.entropy import EntropyObserver
from paring.steps.quantize.calibration.mse import MseObserver
from paring.steps.quantize.calibration.percentile import PercentileObserver
from paring.steps.quantize.pt2e import MinMaxObserver, MovingAverageMinMaxObserver

Method = Literal["minmax", "moving_average", "percentile", "entropy", "mse"]

# Jacob et al. 2018, arXiv:1712.05877, section 3.1, average over thousands of steps of training; of a few batches of
# calibration, each has to count more
_SHARE_OF_A_BATCH = 0.1


def observer(method: Method, percentile: float, smallest_scale: float) -> Any:
    """What makes an observer, as a `QuantizationSpec` wants it."""
    if method == "moving_average":
        return MovingAverageMinMaxObserver.with_args(eps=smallest_scale, averaging_constant=_SHARE_OF_A_BATCH)
    if method == "percentile":
        return PercentileObserver.with_args(eps=smallest_scale, percentile=percentile)
    kinds = {"minmax": MinMaxObserver, "entropy": EntropyObserver, "mse": MseObserver}
    return kinds[method].with_args(eps=smallest_scale)
