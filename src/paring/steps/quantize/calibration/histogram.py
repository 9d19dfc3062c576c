"""A histogram whose range grows with what it is shown, and an observer that finds its range in it."""

from typing import Any

import torch
from torch import Tensor

from paring.steps.quantize.pt2e import MinMaxObserver

BINS = 2048


class Histogram:
    """Counts in equal bins. Its range doubles when a value lies outside, pairs of bins becoming one: none is moved.

    Zeros are left out: they are exact in every affine code, and the many that a ReLU gives would decide every range.
    """

    def __init__(self) -> None:
        self.low, self.width = 0.0, 0.0
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def add(self, x: Tensor, low: float, high: float) -> None:
        """Counts the values of x, float32, all of them in [low, high]."""
        if not self.width:
            self.low = low
            self.width = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-30) / BINS
        while high > self.high:
            self._double(upwards=True)
        while low < self.low:
            self._double(upwards=False)
        counts = torch.histc(x, BINS, self.low, self.high).double()
        if self.low <= 0 <= self.high:
            zero = min(BINS - 1, int(-self.low / self.width))
            counts[zero] = (counts[zero] - (x.numel() - int(x.count_nonzero()))).clamp_min(0)
        self.counts += counts

    @property
    def high(self) -> float:
        """The end of the last bin."""
        return self.low + BINS * self.width

    @property
    def centres(self) -> Tensor:
        """The middle of each bin."""
        return self.low + (torch.arange(BINS, dtype=torch.float64) + 0.5) * self.width

    def _double(self, *, upwards: bool) -> None:
        halved = self.counts.reshape(-1, 2).sum(1)
        empty = torch.zeros_like(halved)
        self.counts = torch.cat([halved, empty] if upwards else [empty, halved])
        if not upwards:
            self.low -= BINS * self.width
        self.width *= 2


class HistogramObserver(MinMaxObserver):  # type: ignore[misc]  # torchao is untyped
    """Keeps a histogram of a tensor; a method says which range it wants of it."""

    min_val: Tensor
    max_val: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.histogram = Histogram()

    def forward(self, x_orig: Tensor) -> Tensor:
        """Counts, and passes on."""
        x = x_orig.detach().float()
        if x.numel():
            low, high = (float(end) for end in torch.aminmax(x))
            self.min_val = torch.minimum(self.min_val, torch.tensor(low))
            self.max_val = torch.maximum(self.max_val, torch.tensor(high))
            if low - low == 0 == high - high:  # finite; what is not is refused once all samples are seen
                self.histogram.add(x, low, high)
        return x_orig

    def range(self) -> tuple[float, float]:
        """The smallest and the largest value that shall have a code."""
        raise NotImplementedError

    @property
    def symmetric(self) -> bool:
        """Whether the zero point must be 0."""
        return bool(self.qscheme == torch.per_tensor_symmetric)

    @property
    def levels(self) -> int:
        """How many codes there are, less one."""
        return int(self.quant_max - self.quant_min)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """(scale, zero point)."""
        low, high = (float(self.min_val), float(self.max_val))
        if self.histogram.counts.any():
            low, high = self.range()
        found: tuple[Tensor, Tensor] = self._calculate_qparams(torch.tensor(low), torch.tensor(high))
        return found
