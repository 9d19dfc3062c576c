"""From what an app has to what a model takes, as data, and back: the raw images behind inputs that were normalized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from paring.core.model import Json
from paring.core.target import Array
from paring.core.task import Task

SCHEMA = "paring.preprocessing/1"
_IMAGE = {"size", "scale", "mean", "std", "raw_range"}
_BYTE = 255

Kind = Literal["image", "text", "tensor"]


@dataclass(frozen=True)
class Normalized:
    """input = raw · factor + offset, channel by channel, in float32: how `paring.data` normalizes images.

    Attributes:
        factor: of each channel, float32.
        offset: of each channel, float32.
    """

    factor: Array
    offset: Array

    @classmethod
    def of(cls, task: Task) -> Normalized:
        """Of a task whose inputs are images."""
        facts = task.preprocessing
        std = np.asarray(facts["std"], np.float64)
        factor = (facts["scale"] / std).astype(np.float32)
        return cls(factor, (-np.asarray(facts["mean"], np.float64) / std).astype(np.float32))

    def raw(self, images: Array) -> Array | None:
        """The images behind inputs (sample, channel, row, column), as an app has them: (sample, row, column, channel).

        None where they were no bytes: then they cannot be had back exactly.
        """
        pixels = images.transpose(0, 2, 3, 1)
        raw = np.rint((pixels - self.offset) / self.factor)
        again = raw.astype(np.float32) * self.factor + self.offset
        if raw.min() < 0 or raw.max() > _BYTE or np.abs(again - pixels).max() > 1e-5:
            return None
        return np.ascontiguousarray(raw.astype(np.uint8))


def kind(task: Task) -> Kind:
    """What an app has: images, texts, or the model's own tensors, where the task tells no more."""
    known = set(task.preprocessing)
    if known >= _IMAGE and len(task.inputs) == 1:
        return "image"
    return "text" if "tokenizer" in known else "tensor"


def as_json(task: Task) -> dict[str, Json]:
    """`preprocessing.json`."""
    return {
        "schema": SCHEMA,
        "kind": kind(task),
        "inputs": [spec.as_json() for spec in task.inputs],
        "steps": dict(task.preprocessing),
    }
