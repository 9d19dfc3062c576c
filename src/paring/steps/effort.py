"""How many samples a cut may look at: many of a small network, few of a large one, so that it ends in good time."""

SCAN = 3e10
"""Multiply–accumulates of a whole scan; the fewest samples of a large network may take more."""
PASS = 1e10
"""Of passes that are done once: covariances, statistics, slopes."""
_BATCH = 2e9  # of a batch: bounds the memory that its activations take


def samples(work: float, macs: float, passes: int, least: int, most: int) -> int:
    """Samples that so much work allows, between two bounds.

    Args:
        work: multiply–accumulates in all.
        macs: of one sample.
        passes: over the samples.
        least: of the result.
        most: of the result.
    """
    return int(min(most, max(least, work / max(macs * passes, 1.0))))


def batch(macs: float) -> int:
    """Samples in a pass, 2 to 64."""
    return int(min(64, max(2, _BATCH / max(macs, 1.0))))
