"""scikit-learn's digits: 1,797 images of 8 x 8 pixels, shipped inside the package. For tests and first steps."""

from __future__ import annotations

import hashlib

import numpy as np
from sklearn.datasets import load_digits

from paring.data.arrays import Arrays, Fit, Side
from paring.data.classification import ImageTask
from paring.data.moments import moments
from paring.data.splits import divide

_WHITE = 16  # the largest value; images hold 0 to 16


def open_digits(name: str, *, size: Side | None = None) -> ImageTask:
    """Handwritten digits, one channel.

    Args:
        name: of the task.
        size: of the inputs, in pixels; 8 if left out.
    """
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 8, 8).astype(np.uint8)
    targets = labels.astype(np.int64)
    names = tuple(str(digit) for digit in range(10))
    splits = divide(targets, {"train": np.arange(len(targets))}, names, name)
    content = hashlib.sha256(images.tobytes() + targets.tobytes()).hexdigest()
    fit = Fit.of((8, 8), size, name)
    arrays = Arrays((images,), "NHW", fit)
    train = moments(arrays, splits["train"], content, name)
    return ImageTask(
        name=name,
        labels=names,
        images=arrays,
        targets=targets,
        splits=splits,
        normalization=train.normalization(1 / _WHITE, ((0.0, float(_WHITE)),)),
        content=content,
        height_width=fit.size,
        resize=fit.how,
        flip=False,  # a mirrored digit is none
        shift=max(1, fit.size[0] // 28),
    )
