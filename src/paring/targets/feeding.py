"""What every runner does before and after its runtime: arrays by name become the tensors of a file, and back."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.target import Array


@dataclass(frozen=True, slots=True)
class End:
    """An input or an output as the file has it.

    Attributes:
        shape: sizes of one sample; a name stands for a free dimension.
        dtype: of numpy.
        scale: of integers that stand for scale × (integer − zero point); 0 for plain values.
        zero_point: likewise.
    """

    shape: tuple[int | str, ...]
    dtype: np.dtype[np.generic]
    scale: float = 0.0
    zero_point: int = 0

    def encode(self, array: Array) -> Array:
        """Values as the file takes them, quantized if it takes integers with a scale."""
        if self.scale == 0.0 or not np.issubdtype(array.dtype, np.floating):
            return array.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        codes = np.rint(array / np.float32(self.scale)) + self.zero_point
        encoded: Array = np.clip(codes, limits.min, limits.max).astype(self.dtype)
        return encoded

    def decode(self, array: Array) -> Array:
        """What the file gave, as values."""
        if self.scale == 0.0:
            return array
        values: Array = (array.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
        return values

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether a sample of that shape goes in."""
        return len(shape) == len(self.shape) and all(
            isinstance(own, str) or own == size for own, size in zip(self.shape, shape, strict=True)
        )


def encode(
    inputs: Mapping[str, Array],
    specs: tuple[TensorSpec, ...],
    ends: Mapping[str, End],
    channels_last: bool,
    where: str,
) -> dict[str, Array]:
    """Arrays by name, batch first, as a file takes them.

    Args:
        inputs: in the model's own names, layout and float values.
        specs: the inputs as a runner describes them.
        ends: the same inputs as the file has them.
        channels_last: whether the file has the channels of images last.
        where: for messages.

    Raises:
        ParingError: an input is missing, or has another shape.
    """
    fed = {}
    for spec in specs:
        if spec.name not in inputs:
            raise ParingError(f"no input is called {spec.name!r}", where, f"give {', '.join(ends)}")
        array, end = inputs[spec.name], ends[spec.name]
        # the file of another maker does not tell its layout, but its shape does
        foreign = not spec.layout and array.ndim == 4 and not end.holds(array.shape[1:])
        if foreign or (channels_last and spec.layout == "NCHW"):
            array = array.transpose(0, 2, 3, 1)
        if not end.holds(array.shape[1:]):
            raise ParingError(
                f"input {spec.name!r} has the shape {tuple(inputs[spec.name].shape)}, wanted {spec.shape}",
                where,
                "use the data that the model was made for",
            )
        fed[spec.name] = np.ascontiguousarray(end.encode(array))
    return fed
