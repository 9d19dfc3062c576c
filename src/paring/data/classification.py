"""Images and their classes, as a task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, TensorSpec
from paring.core.task import SPLITS, Batch, Split
from paring.data.order import Pass, varied
from paring.data.splits import Indices


class Images(Protocol):
    """Where the pixels come from."""

    @property
    def channels(self) -> int:
        """Of the images."""

    def stream(self, batches: Sequence[Indices]) -> Iterator[Tensor]:
        """The images of each batch, NCHW, uint8 or float32, of the task's size."""


@dataclass(frozen=True, slots=True)
class Normalization:
    """From raw values to what a model takes: (raw · scale - mean) / std, channel by channel.

    Attributes:
        scale: brings raw values to the units of mean and std, e.g. 1/255.
        mean: of each channel.
        std: of each channel.
        raw: smallest and largest raw value of each channel, or once for all of them.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw: tuple[tuple[float, float], ...] = ((0.0, 255.0),)

    def __call__(self, images: Tensor) -> Tensor:
        """A batch, NCHW, as float32."""
        std = torch.tensor(self.std, dtype=torch.float64)
        factor = (self.scale / std).float().reshape(-1, 1, 1)
        offset = (-torch.tensor(self.mean, dtype=torch.float64) / std).float().reshape(-1, 1, 1)
        return (images * factor).add_(offset)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value of a normalized image."""
        low, high = torch.tensor(self.raw).T[:, :, None, None]
        return self(low).min().item(), self(high).max().item()


@dataclass(frozen=True)
class ImageTask:
    """Image classification: one input `image`, one output with a value for each class.

    Attributes:
        name: as the user named it.
        labels: names of the classes.
        images: where the pixels come from.
        targets: the class of every sample.
        splits: the samples of each split.
        normalization: from raw values to inputs.
        content: hex digest of the data; with splits and options it makes the identity.
        height_width: of an input.
        resize: how an image of another size comes to it.
        flip: whether `augment` may mirror.
        shift: pixels that `augment` may move an image by, either way.
    """

    name: str
    labels: tuple[str, ...]
    images: Images
    targets: Indices
    splits: Mapping[Split, Indices]
    normalization: Normalization
    content: str
    height_width: tuple[int, int]
    resize: str
    flip: bool
    shift: int

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """One batch of images, NCHW, with the range that normalization gives."""
        shape = ("batch", self.images.channels, *self.height_width)
        return (TensorSpec("image", shape, "float32", "NCHW", self.normalization.range),)

    @cached_property
    def preprocessing(self) -> Mapping[str, Json]:
        """From a raw image to an input: resize, then (raw · scale - mean) / std, channel by channel."""
        raw = self.normalization.raw
        return {
            "layout": "NCHW",
            "size": list(self.height_width),
            "color": {1: "gray", 3: "RGB"}.get(self.images.channels, f"{self.images.channels} channels"),
            "resize": self.resize,
            "raw_range": [min(low for low, _ in raw), max(high for _, high in raw)],
            "scale": self.normalization.scale,
            "mean": list(self.normalization.mean),
            "std": list(self.normalization.std),
        }

    @cached_property
    def identity(self) -> str:
        """Digest of content, splits, preprocessing and augmentation."""
        facts = [self.content, self.labels, dict(self.preprocessing), self.flip, self.shift]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for split in SPLITS:
            digest.update(self.splits[split].tobytes())
        return digest.hexdigest()

    def size(self, split: Split) -> int:
        """Number of samples in a split."""
        return len(self._members(split))

    def batches(
        self,
        split: Split,
        batch_size: int,
        *,
        limit: int | None = None,
        shuffle: int | None = None,
        augment: bool = False,
        shard: tuple[int, int] = (0, 1),
        skip: int = 0,
    ) -> Iterator[Batch]:
        """The samples of a split, see `paring.core.task.Task.batches`.

        A limit keeps the first samples of the split's own order, which `shuffle` then mixes.

        Raises:
            ParingError: a sample cannot be read or is not finite; a shuffled split does not fill one batch.
        """
        where = f"{self.name}, {split}"
        portions = list(Pass(batch_size, limit, shuffle, shard, skip).portions(self._members(split), where))
        streamed = self.images.stream([portion.indices for portion in portions])
        for portion, pixels in zip(portions, streamed, strict=True):
            images = pixels
            if images.is_floating_point():
                self._check_finite(images, portion.indices)
            if augment:
                seed = shuffle or 0
                images = varied(images, shift=self.shift, flip=self.flip, seed=seed, portion=portion, shard=shard)
            samples = None if augment else torch.from_numpy(portion.indices)
            yield Batch({"image": self.normalization(images)}, torch.from_numpy(self.targets[portion.indices]), samples)

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy, the mean over a batch."""
        if len(outputs) != 1:
            raise ParingError(
                f"classification has one output, the model has {len(outputs)}: {', '.join(outputs)}",
                self.name,
                "keep only the output that holds a value for each class",
            )
        (logits,) = outputs.values()
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)

    def _members(self, split: Split) -> Indices:
        if split not in self.splits:
            raise UnknownName.of("split", split, self.splits, self.name)
        return self.splits[split]

    def _check_finite(self, images: Tensor, indices: Indices) -> None:
        if not torch.stack(torch.aminmax(images)).isfinite().all():  # NaN and infinity show in the extremes
            finite = images.isfinite().flatten(1).all(1)
            sample = int(indices[int(finite.int().argmin())])
            raise ParingError(f"sample {sample} holds NaN or infinity", self.name, "repair or remove it")
