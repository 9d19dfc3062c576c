"""What every loss on features is, and what several of them need."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from paring.train.distillation.pairs import Point

Pair = tuple[Point, Point]  # of the student, of the teacher


class FeatureLoss(nn.Module):
    """Compares what pairs of layers give. Its parameters, if any, are trained along with the student.

    Args:
        config: its options.
        pairs: what is compared with what.

    Raises:
        ParingError: a pair that it cannot compare.
    """

    def forward(
        self, learned: Sequence[Sequence[Tensor]], taught: Sequence[Sequence[Tensor]], mask: Tensor | None
    ) -> Tensor:
        """The mean over a batch and over the pairs, a scalar.

        Args:
            learned: what the layers of each pair give in the student: as many tensors as its point reads.
            taught: likewise in the teacher.
            mask: which tokens count, shape (batch, length); None where there are none.
        """
        raise NotImplementedError


def features(shape: Sequence[int]) -> int:
    """How many features there are at each place: of a sample (channels, height, width), or (tokens, features)."""
    return shape[0] if len(shape) == 3 else shape[-1]


def adapter(pair: Pair) -> nn.Module:
    """Brings the student's features to the number of the teacher's: a learned matrix, or nothing where they agree."""
    student, teacher = pair
    inputs, outputs = features(student.shape), features(teacher.shape)
    if inputs == outputs:
        return nn.Identity()
    return nn.Conv2d(inputs, outputs, 1) if len(student.shape) == 3 else nn.Linear(inputs, outputs)


def same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two batches of images at the smaller height and width of both; other tensors as they are."""
    if first.ndim != 4 or first.shape[2:] == second.shape[2:]:
        return first, second
    size = min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3])
    return adaptive_avg_pool2d(first, size), adaptive_avg_pool2d(second, size)


def mean_over(values: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of values of tokens, shape (batch, length), over those that count; of other values over all."""
    if mask is None or values.shape != mask.shape:
        return values.mean()
    mask = mask.to(values.dtype)
    return (values * mask).sum() / mask.sum().clamp_min(1.0)


def mean(losses: Sequence[Tensor]) -> Tensor:
    """Of scalars."""
    return torch.stack(list(losses)).mean()
