"""Whether a file's answers are those of what it was made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from paring.core.target import Array

RELATIVE = 1e-3
"""The largest difference of a float file, as a share of the largest value of its group of channels."""
SQNR = 30.0
"""What a quantized file keeps at least of its graph, in dB, unless quantizing itself loses more."""
WITHIN = 3.0
"""How far below the graph's own distance to float a quantized file may lie, in dB: twice its noise."""
_GAP = 8.0  # between the largest values of two channels that belong to different groups
_LEAST = 2e-6  # of the largest value of an output: what float32 keeps of a sum of such values
_ROUNDING = 0.75  # of a step of the output's scale, root mean square: two roundings of the same value


@dataclass(frozen=True)
class Difference:
    """One group of channels of an output that is not what it should be.

    Attributes:
        output: its name.
        channels: which, as a sentence's part: `` or ` (channels 4 to 6)`.
        error: largest difference as a share of the largest value, of float; dB of SQNR else.
        decibels: whether `error` is in dB.
    """

    output: str
    channels: str
    error: float
    decibels: bool

    def __str__(self) -> str:
        amount = f"at {self.error:.1f} dB" if self.decibels else f"by {self.error:.2g} of its largest value"
        return f"{self.output}{self.channels} differs {amount}"


def float_difference(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> Difference | None:
    """The largest difference beyond `RELATIVE`, of any output and group of channels; None if there is none."""
    worst: Difference | None = None
    for name, reference in wanted.items():
        for channels, own, other in groups(found[name], reference):
            whole = float(np.abs(reference).max(initial=0))
            largest = float(np.abs(other).max(initial=0))
            apart = _largest_difference(own, other)
            if apart <= max(RELATIVE * largest, _LEAST * whole):
                continue
            error = apart / largest if largest else np.inf
            if worst is None or error > worst.error:
                worst = Difference(name, channels, float(error), decibels=False)
    return worst


def largest(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    """The largest difference of any output, as a share of the output's largest value."""
    shares = [
        _largest_difference(found[name], reference) / (float(np.abs(reference).max(initial=0)) or 1.0)
        for name, reference in wanted.items()
    ]
    return max(shares, default=0.0)


def quantized_differences(
    found: Mapping[str, Array], wanted: Mapping[str, Array], steps: Mapping[str, float]
) -> list[tuple[Difference, tuple[str, str]]]:
    """Groups of channels below `SQNR` that differ by more than a rounding, the worst first, each with its key.

    Args:
        found: what the file answers.
        wanted: what its graph answers.
        steps: output -> the scale of its integers, where it has one.
    """
    below = []
    for name, reference in wanted.items():
        for channels, own, other in groups(found[name], reference):
            if not rounded_alike(own, other, steps.get(name, 0.0)):
                db = sqnr(other, own)
                if db < SQNR:
                    below.append((Difference(name, channels, db, decibels=True), (name, channels)))
    return sorted(below, key=lambda one: one[0].error)


def rounded_alike(own: Array, other: Array, step: float) -> bool:
    """Whether two arrays differ by no more than rounding to the same steps may."""
    if own.shape != other.shape or not np.isfinite(own).all():
        return False
    apart = own.astype(np.float64) - other.astype(np.float64)
    return not apart.size or bool(np.sqrt(np.square(apart).mean()) <= _ROUNDING * step)


def sqnr(wanted: Array, found: Array) -> float:
    """Signal to noise in dB; infinite where nothing differs, minus infinite where shapes or numbers do not fit."""
    if wanted.shape != found.shape or not np.isfinite(found).all():
        return -np.inf
    signal = float(np.square(wanted, dtype=np.float64).sum())
    noise = float(np.square(wanted.astype(np.float64) - found.astype(np.float64)).sum())
    if noise == 0.0:
        return np.inf
    return 10 * float(np.log10(signal / noise)) if signal else -np.inf


def groups(found: Array, wanted: Array) -> Iterator[tuple[str, Array, Array]]:
    """(which channels, the file's values, the wanted ones) of channels whose values are of like size.

    Boxes beside scores are two groups: an error that is nothing to the ones may be all of the others. Channels lie on
    the second axis or on the last one.
    """
    if found.shape != wanted.shape or wanted.ndim < 2:
        yield "", found, wanted
        return
    for axis in sorted({1, wanted.ndim - 1}):
        sizes = np.abs(wanted).max(tuple(one for one in range(wanted.ndim) if one != axis), initial=0)
        order = np.argsort(sizes, kind="stable")
        ordered = np.maximum(sizes[order], np.finfo(np.float32).tiny)
        # what lies at the noise of the largest is no group of its own
        ordered = np.maximum(ordered, _LEAST * ordered.max(initial=0))
        cuts = np.flatnonzero(ordered[1:] > _GAP * ordered[:-1]) + 1
        parts = np.split(order, cuts)
        if len(parts) == 1:
            if axis == 1 or wanted.ndim == 2:
                yield "", found, wanted
            continue
        for part in parts:
            named = sorted(int(one) for one in part)
            yield f" (channels {_few(named)})", found.take(named, axis), wanted.take(named, axis)


def _few(numbers: list[int]) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers[:4])) + (", …" if len(numbers) > 4 else "")


def _largest_difference(found: Array, wanted: Array) -> float:
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return np.inf
    return float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max(initial=0))
