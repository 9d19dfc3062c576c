"""Accuracy with its interval, and how far two models agree."""

from math import log10, sqrt

import numpy as np

from paring.core.target import Array
from paring.measure.answers import Answers

_Z = 1.959963984540054  # 97.5 % of the normal distribution lie below


def share(successes: int, total: int) -> tuple[float, float]:
    """(share in %, half the width of its 95 % Wilson interval in points).

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22: right also near 0 and
    100 %, where the normal interval is not.
    """
    p = successes / total
    half = _Z / (1 + _Z**2 / total) * sqrt(p * (1 - p) / total + _Z**2 / (4 * total**2))
    return 100 * p, 100 * half


def accuracy(answers: Answers) -> tuple[float, float]:
    """Share of samples whose largest output is the target's, in %, with its half interval."""
    return share(int((answers.outputs.argmax(1) == answers.targets).sum()), len(answers.targets))


def agreement(one: Answers, other: Answers) -> tuple[float, float]:
    """Share of samples on which both give the same top answer, in %, with its half interval."""
    return share(int((one.outputs.argmax(1) == other.outputs.argmax(1)).sum()), len(one.targets))


def sqnr(reference: Array, other: Array) -> float:
    """Signal to quantization noise in dB: 10 log₁₀(Σ r² / Σ (r − o)²), at most 200 (the two are equal then)."""
    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(np.subtract(reference, other, dtype=np.float64)).sum())
    if noise == 0.0:
        return 200.0
    return min(200.0, 10 * log10(max(signal, np.finfo(np.float64).tiny) / noise))
