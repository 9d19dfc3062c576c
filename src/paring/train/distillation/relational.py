"""How samples lie to each other.

Park et al. 2019, "Relational Knowledge Distillation", arXiv:1904.05068, equations 5 to 9.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from paring.train.distillation.feature import FeatureLoss, Pair, mean
from paring.train.distillation.options import RelationalConfig


class Relational(FeatureLoss):
    """Huber's loss on distances between two samples, each of their own mean, and on angles among three.

    A sample is the mean of its features over all places, or over the tokens that count; widths need not agree.
    """

    def __init__(self, config: RelationalConfig, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.distance, self.angle = config.distance, config.angle

    def forward(
        self, learned: Sequence[Sequence[Tensor]], taught: Sequence[Sequence[Tensor]], mask: Tensor | None
    ) -> Tensor:
        """See `FeatureLoss`."""
        losses = []
        for (s,), (t,) in zip(learned, taught, strict=True):
            found, wanted = _pooled(s, mask), _pooled(t, mask)
            losses.append(
                self.distance * smooth_l1_loss(_distances(found), _distances(wanted))
                + self.angle * smooth_l1_loss(_angles(found), _angles(wanted))
            )
        return mean(losses)


def _pooled(x: Tensor, mask: Tensor | None) -> Tensor:
    """Shape (batch, features)."""
    if x.ndim == 4:
        return x.mean((2, 3))
    if x.ndim == 3:
        if mask is None or mask.shape != x.shape[:2]:
            return x.mean(1)
        kept = mask[:, :, None].to(x.dtype)
        return (x * kept).sum(1) / kept.sum(1).clamp_min(1.0)
    return x.flatten(1)


def _distances(x: Tensor) -> Tensor:
    """Of every two samples, divided by their mean, shape (pairs,)."""
    distances = torch.nn.functional.pdist(x)
    return distances / distances.mean().clamp_min(1e-12)


def _angles(x: Tensor) -> Tensor:
    """Cosine of the angle at each sample between every two others, shape (batch, batch, batch)."""
    towards = normalize(x[None] - x[:, None], dim=2)
    return towards @ towards.transpose(1, 2)
