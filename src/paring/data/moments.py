"""Mean, spread and range of images in arrays, found in one pass, chunk by chunk, and remembered."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import numpy as np

from paring.core.errors import ParingError
from paring.data import cache
from paring.data.arrays import Arrays
from paring.data.classification import Normalization
from paring.data.splits import Indices

_CHUNK_VALUES = 1 << 20


@dataclass(frozen=True, slots=True)
class Moments:
    """Of raw values.

    Attributes:
        mean: of each channel.
        std: of each channel.
        low: the smallest value.
        high: the largest value.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: float
    high: float

    def normalization(self, scale: float, raw: tuple[float, float] = (0.0, 255.0)) -> Normalization:
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
    key = cache.combined((content, arrays.layout, hashlib.sha256(samples.tobytes()).hexdigest()))
    found = cache.remember(key, lambda: asdict(_scan(arrays, samples, where)))
    return Moments(tuple(found["mean"]), tuple(found["std"]), found["low"], found["high"])


def _scan(arrays: Arrays, samples: Indices, where: str) -> Moments:
    step = max(1, _CHUNK_VALUES // int(np.prod(arrays.parts[0].shape[1:])))
    origin = arrays.raw(samples[:1]).astype(np.float64).mean((2, 3)).reshape(-1, 1, 1)
    count, low, high = 0, np.inf, -np.inf
    total, squares = np.zeros(arrays.channels), np.zeros(arrays.channels)
    for start in range(0, len(samples), step):
        images = arrays.raw(samples[start : start + step])
        low, high = min(low, float(images.min())), max(high, float(images.max()))
        if not np.isfinite((low, high)).all():
            sample = samples[start + int(np.argmin(np.isfinite(images).all((1, 2, 3))))]
            raise ParingError(f"sample {sample} holds NaN or infinity", where, "repair or remove it")
        values = images - origin  # around a value of theirs: squares of large ones would lose digits
        count += values[:, 0].size
        total += values.sum((0, 2, 3))
        squares += np.einsum("nchw,nchw->c", values, values)
    offset = total / count
    std = np.sqrt(np.maximum(squares / count - offset**2, 0))
    return Moments(tuple((origin.ravel() + offset).tolist()), tuple(std.tolist()), low, high)
