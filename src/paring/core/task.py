"""What a model is for: data in four splits, a loss, and how good an answer is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from paring.core.errors import ParingError
from paring.core.model import Json, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "validation", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "calibration", "test")


@dataclass(frozen=True, slots=True)
class Tokenization:
    """How a model wants its texts; what the data need to know of it.

    Attributes:
        tokenizer: the text of a `tokenizer.json`; None where the model brings none.
        length: of every padded text, in tokens.
        limit: the longest text that the model takes; None where it is not known.
    """

    tokenizer: str | None = None
    length: int = 128
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples.

    Attributes:
        inputs: by name, batch first, as the module takes them (images: float32, NCHW, normalized).
        targets: int64, shape (batch,).
        samples: int64, shape (batch,): numbers that tell each sample from every other one of the data; None where the
            task does not count them, or where they were changed at random.
    """

    inputs: Mapping[str, Tensor]
    targets: Tensor
    samples: Tensor | None = None


class Task(Protocol):
    """Data, loss and metrics of one job.

    `calibration` is drawn from `train`; `validation` is for decisions; `test` is for the figures reported, and
    nothing is chosen on it. The same task gives the same samples in the same splits on every machine.

    Attributes:
        name: as the user named it, e.g. `fashion-mnist`.
        identity: hex digest of content and splits; part of every cache key.
        inputs: what a batch holds.
        labels: names of the classes, in the order of the model's outputs.
        preprocessing: how a raw sample becomes an input, as data (size, mean, std, …), for whoever ships the model.
    """

    name: str
    identity: str
    inputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]
    preprocessing: Mapping[str, Json]

    def size(self, split: Split) -> int:
        """Number of samples in a split."""

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
        """The samples of a split, in a fixed order.

        Args:
            split: which one.
            batch_size: samples in a batch; the last one may hold fewer, but for shuffled ones, which are all full.
            limit: at most so many samples, in all.
            shuffle: seed of a new order; None keeps the split's own.
            augment: random changes to each sample, drawn from the seed, so that the same seed gives the same batches.
            shard: (this process, number of processes): each takes its share of every batch.
            skip: leave out so many batches at the start (to go on after a kill).
        """

    def loss(self, outputs: Mapping[str, Tensor], targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Mean loss of a batch, a scalar."""


def matched(wanted: Sequence[TensorSpec], given: Sequence[TensorSpec], where: str) -> dict[str, str]:
    """Which of a task's inputs feeds each input of a model: the one of its name, else the next of those left over.

    Raises:
        ParingError: the task gives fewer inputs than the model takes.
    """
    names = [spec.name for spec in given]
    found = {spec.name: spec.name for spec in wanted if spec.name in names}
    left = iter([name for name in names if name not in found])
    for spec in wanted:
        if spec.name not in found:
            name = next(left, None)
            if name is None:
                raise ParingError(
                    f"takes {', '.join(one.name for one in wanted)}, the data give {', '.join(names)}",
                    where,
                    "use data of the kind that the model was made for",
                )
            found[spec.name] = name
    return found
