"""Which token looks at which.

By scores: Jiao et al. 2020, "TinyBERT", arXiv:1909.10351, equation 7. By probabilities: Wang et al. 2020, "MiniLM",
arXiv:2002.10957, equation 5. Split anew into heads where the networks have not equally many: Wang et al. 2021,
"MiniLMv2", arXiv:2012.15828, section 3.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from paring.core.errors import ParingError
from paring.train.distillation.feature import FeatureLoss, Pair, mean
from paring.train.distillation.options import AttentionMapsConfig


class AttentionMaps(FeatureLoss):
    """KL(A_t ‖ A_s) over the tokens that each token looks at, A = softmax(Q Kᵀ / √d); or the error of Q Kᵀ / √d.

    Raises:
        ParingError: the numbers of heads differ, or do not divide the widths.
    """

    def __init__(self, config: AttentionMapsConfig, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.compare = config.compare
        self.heads = [_heads(pair, config.heads) for pair in pairs]

    def forward(
        self, learned: Sequence[Sequence[Tensor]], taught: Sequence[Sequence[Tensor]], mask: Tensor | None
    ) -> Tensor:
        """See `FeatureLoss`; each point reads queries and keys, shape (batch, length, features)."""
        losses = []
        for heads, s, t in zip(self.heads, learned, taught, strict=True):
            found, wanted = _scores(s, heads), _scores(t, heads)
            looked = torch.ones_like(found[:, 0, 0]) if mask is None else mask.to(found.dtype)
            losses.append(self._probabilities(found, wanted, looked) if self.compare == "probabilities" else
                          _error(found, wanted, looked))  # fmt: skip
        return mean(losses)

    @staticmethod
    def _probabilities(found: Tensor, wanted: Tensor, looked: Tensor) -> Tensor:
        hidden = (looked == 0)[:, None, None]
        logs = [scores.masked_fill(hidden, torch.finfo(scores.dtype).min).log_softmax(-1) for scores in (found, wanted)]
        divergence = (logs[1].exp() * (logs[1] - logs[0])).masked_fill(hidden, 0.0).sum(-1).mean(1)
        return (divergence * looked).sum() / looked.sum()


def _error(found: Tensor, wanted: Tensor, looked: Tensor) -> Tensor:
    """Mean squared error of the scores among tokens that count."""
    both = looked[:, :, None] * looked[:, None]
    return ((found - wanted).square().mean(1) * both).sum() / both.sum()


def _scores(point: Sequence[Tensor], heads: int) -> Tensor:
    """Q Kᵀ / √d, shape (batch, heads, length, length)."""
    query, key = (one.view(*one.shape[:2], heads, -1).transpose(1, 2) for one in point)
    scores: Tensor = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    return scores


def _heads(pair: Pair, wanted: int | None) -> int:
    student, teacher = pair
    heads = wanted or teacher.heads
    if wanted is None and student.heads != teacher.heads:
        raise ParingError(
            f"{student.name} has {student.heads} heads, {teacher.name} {teacher.heads}",
            "attention_maps",
            "set heads to a number that divides the widths of both",
        )
    for point in pair:
        if point.shape[-1] % heads:
            raise ParingError(
                f"{heads} heads do not divide the {point.shape[-1]} features of {point.name}",
                "attention_maps: heads",
                "choose a number that divides the widths of both",
            )
    return heads
