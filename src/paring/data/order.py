"""Which samples make which batch, and how they are varied: chance drawn so that a pass can be taken up anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from paring.core.errors import ParingError
from paring.data.splits import Indices, shuffled


@dataclass(frozen=True, slots=True)
class Portion:
    """This process's share of one batch.

    Attributes:
        number: of the batch in the pass.
        total: samples in the whole batch, over all processes.
        indices: the samples, as numbers in the data set.
    """

    number: int
    total: int
    indices: Indices


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through a split: the arguments of `Task.batches`, see there."""

    batch_size: int
    limit: int | None = None
    shuffle: int | None = None
    shard: tuple[int, int] = (0, 1)
    skip: int = 0

    def portions(self, members: Indices, where: str) -> Iterator[Portion]:
        """The batches of a split, in order; a last one with fewer samples than processes leaves some without.

        Raises:
            ParingError: no full batch can be made, or a process would get no samples of it.
        """
        index, processes = self.shard
        if self.batch_size < 1 or not 0 <= index < processes or self.skip < 0 or (self.limit or 0) < 0:
            raise ValueError(f"no such pass: {self}")
        if self.batch_size < processes:
            problem = f"a batch of {self.batch_size} cannot be shared by {processes} processes"
            raise ParingError(problem, where, f"use a batch size of {processes} or more, or fewer processes")
        members = members[: self.limit]
        end = len(members)
        if self.shuffle is not None:
            if end < self.batch_size:
                problem = f"{end} samples do not fill one batch of {self.batch_size}"
                raise ParingError(problem, where, f"use a batch size of at most {end}, or a higher limit")
            members = members[shuffled(end, self.shuffle)]
            end -= end % self.batch_size
        for number in range(self.skip, -(-end // self.batch_size)):
            batch = members[number * self.batch_size : min(end, (number + 1) * self.batch_size)]
            share = batch[index::processes]
            if len(share):
                yield Portion(number, len(batch), share)


def varied(images: Tensor, *, shift: int, flip: bool, seed: int, portion: Portion, shard: tuple[int, int]) -> Tensor:
    """Each image moved by up to `shift` pixels either way (black moves in), and half of them mirrored.

    What happens to a sample depends on the seed, the batch's number and its place in the whole batch, so neither
    skipping batches nor sharing them among processes changes it.
    """
    chance = torch.Generator()
    chance.manual_seed(int(np.random.SeedSequence((seed, portion.number)).generate_state(1, np.uint64)[0] >> 1))
    moves = torch.randint(0, 2 * shift + 1, (2, portion.total), generator=chance)
    mirrored = torch.rand(portion.total, generator=chance) < 0.5
    down, right = moves[:, shard[0] :: shard[1]]
    mirrored = mirrored[shard[0] :: shard[1]]

    height, width = images.shape[-2:]
    padded = functional.pad(images, (shift, shift, shift, shift))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # every shifted image, as views
    images = windows[torch.arange(len(images)), :, down, right]
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images) if flip else images
