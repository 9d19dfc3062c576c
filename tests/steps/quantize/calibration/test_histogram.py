"""The histogram loses no value however its range grows, and what is searched in it is the best there is."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from paring.steps.quantize.calibration.histogram import BINS, Histogram
from paring.steps.quantize.calibration.search import best_range

finite = st.floats(-1e6, 1e6, width=32)
batches = st.lists(st.lists(finite, min_size=1, max_size=20), min_size=1, max_size=6)


@given(batches)
def test_every_value_but_zero_is_counted_wherever_it_lies(values: list[list[float]]) -> None:
    histogram = Histogram()
    for batch in values:
        x = torch.tensor(batch)
        histogram.add(x, float(x.min()), float(x.max()))
    kept = torch.tensor([value for batch in values for value in batch if value != 0.0], dtype=torch.float64)
    assert abs(histogram.counts.sum() - len(kept)) <= 2 * len(values)  # the two ends of a batch may round outwards
    assert histogram.low <= min(min(batch) for batch in values) + histogram.width
    assert histogram.high >= max(max(batch) for batch in values) - histogram.width


@given(st.integers(0, 1000))
def test_growing_keeps_values_in_their_places(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    histogram, shown = Histogram(), []
    for scale in (1.0, 3.0, 50.0):
        x = torch.randn(500, generator=generator) * scale
        shown.append(x)
        histogram.add(x, float(x.min()), float(x.max()))
    values = torch.cat(shown).double()
    for share in (0.1, 0.5, 0.9):
        reached = torch.searchsorted(histogram.counts.cumsum(0) / histogram.counts.sum(), share)
        found = float(histogram.centres[min(int(reached), BINS - 1)])
        fewer, more = (float(values.quantile(share + aside)) for aside in (-0.005, 0.005))
        assert fewer - 3 * histogram.width <= found <= more + 3 * histogram.width


@given(st.floats(-50, 0), st.floats(0, 50), st.floats(0.05, 0.95))
def test_the_search_finds_a_smooth_minimum(low: float, high: float, share: float) -> None:
    if high - low < 1e-3:
        return
    found = best_range(
        low, high, lambda lows, highs: (lows - low * share) ** 2 + (highs - high * share) ** 2, symmetric=False
    )
    assert abs(found[0] - low * share) <= 0.002 * abs(low) + 1e-9
    assert abs(found[1] - high * share) <= 0.002 * abs(high) + 1e-9
