"""Images in arrays, on disk or in memory, and the batches taken from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from paring.core.errors import ParingError
from paring.data.splits import Indices

Layout = Literal["NHW", "NHWC", "NCHW"]
Side = Annotated[int, Field(ge=4, le=2048)]  # of an image, in pixels


@dataclass(frozen=True, slots=True)
class Stored:
    """An array in a file, of which only what is asked for is read.

    Read, not mapped: pages of a map that were touched count as the process's memory, until the whole file is in it.

    Attributes:
        path: the file.
        offset: bytes before the first element.
        shape: of the whole array; C order.
        dtype: of the elements.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: Indices) -> NDArray[Any]:
        """Some rows.

        Raises:
            ParingError: the file is not what it was when it was opened.
        """
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        rows = np.empty((len(indices), size), np.uint8)
        try:
            with self.path.open("rb", buffering=0) as file:
                for row, index in zip(rows, indices.tolist(), strict=True):
                    file.seek(self.offset + index * size)
                    if file.readinto(row.data) != size:
                        raise OSError("it is shorter now")
        except OSError as error:
            problem = f"was changed or removed while in use ({error})"
            raise ParingError(
                problem, str(self.path), "leave the data in place during a run, and start again"
            ) from error
        return rows.view(self.dtype).reshape(-1, *self.shape[1:])

    def whole(self) -> NDArray[Any]:
        """All of it: for labels."""
        return np.fromfile(self.path, self.dtype, math.prod(self.shape), offset=self.offset).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Fit:
    """How images of a data set come to the size of a task.

    Attributes:
        size: (height, width) of the result.
        how: `none`, `pad` (black all round) or `bilinear`.
    """

    size: tuple[int, int]
    how: Literal["none", "pad", "bilinear"]

    @classmethod
    def of(cls, own: tuple[int, ...], size: int | None, where: str) -> Fit:
        """From the images' own (height, width): padded if that adds a quarter at most (28 to 32), resized otherwise.

        Raises:
            ParingError: the images are not square.
        """
        height, width = own
        if size is None or (height, width) == (size, size):
            return cls((height, width), "none")
        if height != width:
            problem = f"the images are {height} x {width}, and size={size} would distort them"
            raise ParingError(problem, where, "leave out the size, or make the images square")
        return cls((size, size), "pad" if height < size <= 1.25 * height else "bilinear")

    def __call__(self, images: Tensor) -> Tensor:
        """A batch, NCHW, of the new size and the same type."""
        if self.how == "none":
            return images
        if self.how == "pad":
            high, wide = self.size[0] - images.shape[2], self.size[1] - images.shape[3]
            return functional.pad(images, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        resized = functional.interpolate(images.float(), self.size, mode="bilinear", antialias=True)
        # Rounded to whole values, as an image of that size would hold them.
        return resized.round_().clamp_(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else resized


@dataclass(frozen=True, slots=True)
class Arrays:
    """Images of one data set, in one or more arrays that count as one.

    Attributes:
        parts: `Stored` or NumPy arrays, uint8 or float.
        layout: order of their dimensions.
        fit: to the task's size.
    """

    parts: Sequence[Stored | NDArray[Any]]
    layout: Layout
    fit: Fit

    @property
    def channels(self) -> int:
        """Of the images."""
        shape = self.parts[0].shape
        return {"NHW": 1, "NHWC": shape[-1], "NCHW": shape[1]}[self.layout]

    def raw(self, indices: Indices) -> NDArray[Any]:
        """Some images, NCHW, uint8 or float32, of their own size."""
        ends = np.cumsum([len(part) for part in self.parts])
        part_of = np.searchsorted(ends, indices, side="right")
        first = int(part_of[0])
        if (part_of == first).all():  # as good as always: a split lies in one part
            images = self.parts[first][indices - (ends[first] - len(self.parts[first]))]
        else:
            rows = indices - (ends - [len(part) for part in self.parts])[part_of]
            images = np.concatenate([self.parts[part][rows[i : i + 1]] for i, part in enumerate(part_of)])
        if images.dtype != np.uint8:
            images = images.astype(np.float32)
        if self.layout == "NHWC":
            return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return images[:, None] if self.layout == "NHW" else images

    def stream(self, batches: Sequence[Indices]) -> Iterator[Tensor]:
        """The images of each batch, NCHW, uint8 or float32, of the task's size."""
        for indices in batches:
            yield self.fit(torch.from_numpy(self.raw(indices)))
