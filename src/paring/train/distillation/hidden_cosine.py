"""Directions of hidden states: Sanh et al. 2019, "DistilBERT", arXiv:1910.01108, section 2 (the loss L_cos)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from paring.train.distillation.feature import FeatureLoss, Pair, adapter, mean, mean_over, same_size
from paring.train.distillation.options import HiddenCosineConfig


class HiddenCosine(FeatureLoss):
    """1 − cos(s, t) of the features of each token, or at each place of an image; s by a learned matrix if narrower."""

    def __init__(self, config: HiddenCosineConfig, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(adapter(pair) for pair in pairs)

    def forward(
        self, learned: Sequence[Sequence[Tensor]], taught: Sequence[Sequence[Tensor]], mask: Tensor | None
    ) -> Tensor:
        """See `FeatureLoss`."""
        losses = []
        for adapted, (s,), (t,) in zip(self.adapters, learned, taught, strict=True):
            pair = same_size(adapted(s), t)
            losses.append(mean_over(1 - cosine_similarity(*pair, dim=1 if s.ndim == 4 else -1), mask))
        return mean(losses)
