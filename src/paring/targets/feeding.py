"""How a runner feeds a file: float values in the model's layout outside, the file's own codes and layout inside."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.target import Array


@dataclass(frozen=True)
class End:
    """An input or an output as the file holds it.

    Attributes:
        shape: of one sample, the batch before it; a name stands for a free size.
        dtype: numpy's name.
        scale: of integers that stand for float values; 0 where values are stored as they are.
        zero_point: likewise.
        channels_last: whether an image of the layout NCHW is to be transposed.
    """

    shape: tuple[int | str, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0
    channels_last: bool = False

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether samples of that shape go in, given in the model's own layout."""
        wanted = self.shape[1:]
        if self.channels_last:  # the model's own layout is channels first
            wanted = (wanted[2], *wanted[:2])
        return len(shape) == len(wanted) and all(
            isinstance(own, str) or own == size for own, size in zip(wanted, shape, strict=True)
        )

    def encode(self, array: Array) -> Array:
        """The array as the file wants it: its layout, its codes."""
        if self.channels_last:
            array = array.transpose(0, 2, 3, 1)
        if self.scale and np.issubdtype(array.dtype, np.floating):
            limits = np.iinfo(np.dtype(self.dtype))
            array = np.clip(np.rint(array / np.float32(self.scale)) + self.zero_point, limits.min, limits.max)
        return np.ascontiguousarray(array.astype(self.dtype, copy=False))

    def decode(self, array: Array) -> Array:
        """The values that the file's codes stand for."""
        if not self.scale:
            return array
        values: Array = (array.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
        return values


class OneSampleRunner(ABC):
    """A `paring.core.target.Runner` over a runtime that takes one sample an inference.

    Attributes:
        ends: of every input and output, by name.
        foreign: whether the file is of another maker. It does not tell its layout, but its shape does: an image that
            does not fit is tried with its channels last.
    """

    runtime: str
    threads: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ends: Mapping[str, End]
    foreign: bool = False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answers for a batch of any size; arrays by name, batch first."""
        fed = self._encode(inputs)
        gathered: dict[str, list[Array]] = {spec.name: [] for spec in self.outputs}
        for i in range(len(next(iter(fed.values())))):
            self._put({name: array[i : i + 1] for name, array in fed.items()})
            self.invoke()
            for name, answer in self._taken().items():
                gathered[name].append(answer)
        return {name: self.ends[name].decode(np.concatenate(answers)) for name, answers in gathered.items()}

    def set(self, inputs: Mapping[str, Array]) -> None:
        """Puts one sample into the runtime's buffers."""
        self._put({name: array[:1] for name, array in self._encode(inputs).items()})

    @abstractmethod
    def invoke(self) -> None:
        """One inference on what was set."""

    @abstractmethod
    def _put(self, fed: Mapping[str, Array]) -> None:
        """Hands the runtime one encoded sample, by the inputs' names."""

    @abstractmethod
    def _taken(self) -> Mapping[str, Array]:
        """The runtime's last answers, not yet decoded, by the outputs' names; copies."""

    def _encode(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        where, fed = f"run in {self.runtime.rpartition(' ')[0]}", {}
        for spec in self.inputs:
            if spec.name not in inputs:
                names = ", ".join(one.name for one in self.inputs)
                raise ParingError(f"no input is called {spec.name!r}", where, f"give {names}")
            given, end = inputs[spec.name], self.ends[spec.name]
            if self.foreign and given.ndim == 4 and not end.takes(given.shape[1:]):
                given = given.transpose(0, 2, 3, 1)
            if not end.takes(given.shape[1:]):
                raise ParingError(
                    f"input {spec.name!r} has the shape {tuple(inputs[spec.name].shape)}, wanted {spec.shape}",
                    where,
                    "use the data that the model was made for",
                )
            fed[spec.name] = end.encode(given)
        return fed
