"""Mean, spread and range of images in arrays, found in one pass, chunk by chunk, and remembered."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paring.core.errors import ParingError
from paring.data import cache
from paring.data.arrays import Arrays
from paring.data.classification import Normalization
from paring.data.splits import Indices

_CHUNK_VALUES = 1 << 18
_REMEMBERED_AS = "moments 1"  # to be counted up when what is remembered changes its form


@dataclass(frozen=True, slots=True)
class Moments:
    """Of raw values.

    Attributes:
        mean: of each channel.
        std: of each channel.
        raw: smallest and largest value of each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw: tuple[tuple[float, float], ...]

    def normalization(self, scale: float, raw: tuple[tuple[float, float], ...] = ((0.0, 255.0),)) -> Normalization:
        """To mean 0 and standard deviation 1 of what is `scale` times a raw value."""
        mean = tuple(value * scale for value in self.mean)
        std = tuple(value * scale if value else 1.0 for value in self.std)  # a channel that is the same everywhere
        return Normalization(scale, mean, std, raw)


def moments(arrays: Arrays, samples: Indices, content: str, where: str) -> Moments:
    """Of some images, before they are fitted to the task's size.

    Args:
        arrays: the images.
        samples: which of them, at least one.
        content: digest of the data, under which the answer is remembered.
        where: the data set, for messages.

    Raises:
        ParingError: a value is NaN or infinite.
    """
    samples = np.sort(samples)  # read in the order of the file
    key = cache.combined((_REMEMBERED_AS, content, arrays.layout, hashlib.sha256(samples.tobytes()).hexdigest()))
    found = cache.remember(key, lambda: asdict(_scan(arrays, samples, where)))
    return Moments(tuple(found["mean"]), tuple(found["std"]), tuple((low, high) for low, high in found["raw"]))


def _scan(arrays: Arrays, samples: Indices, where: str) -> Moments:
    step = max(1, _CHUNK_VALUES // math.prod(arrays.parts[0].shape[1:]))
    origin = _pixels(arrays, samples[:1]).mean(2, np.float64, keepdims=True)
    count, total, squares = 0, np.zeros(arrays.channels), np.zeros(arrays.channels)
    low, high = np.full(arrays.channels, np.inf), np.full(arrays.channels, -np.inf)
    for start in range(0, len(samples), step):
        pixels = _pixels(arrays, samples[start : start + step])
        low, high = np.minimum(low, pixels.min(2).min(0)), np.maximum(high, pixels.max(2).max(0))
        if not np.isfinite((low, high)).all():
            sample = samples[start + int(np.argmin(np.isfinite(pixels).all((1, 2))))]
            raise ParingError(f"sample {sample} holds NaN or infinity", where, "repair or remove it")
        values = pixels - origin  # around a value of theirs: squares of large ones would lose digits
        count += len(pixels) * pixels.shape[2]
        total += values.sum(2).sum(0)
        squares += np.einsum("ncp,ncp->nc", values, values).sum(0)
    offset = total / count
    std = np.sqrt(np.maximum(squares / count - offset**2, 0))
    raw = tuple(zip(low.tolist(), high.tolist(), strict=True))
    return Moments(tuple((origin.ravel() + offset).tolist()), tuple(std.tolist()), raw)


def _pixels(arrays: Arrays, samples: Indices) -> NDArray[Any]:
    """(sample, channel, pixel): sums along the last, contiguous dimension are many times as fast."""
    images = arrays.raw(samples)
    return images.reshape(*images.shape[:2], -1)
