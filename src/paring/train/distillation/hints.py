"""Hints: Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550, equation 3.

Also the hidden states of Jiao et al. 2020, "TinyBERT", arXiv:1909.10351, equation 8.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from paring.train.distillation.feature import FeatureLoss, Pair, adapter, mean, mean_over, same_size
from paring.train.distillation.options import HintsConfig


class Hints(FeatureLoss):
    """‖r(s) − t‖² / ‖t‖²: s learns to become t by a learned regressor r (1×1), which is dropped where widths agree.

    Divided by the teacher's own square, unlike in the papers, so that a weight means the same in every network.
    """

    def __init__(self, config: HintsConfig, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.regressors = nn.ModuleList(adapter(pair) for pair in pairs)

    def forward(
        self, learned: Sequence[Sequence[Tensor]], taught: Sequence[Sequence[Tensor]], mask: Tensor | None
    ) -> Tensor:
        """See `FeatureLoss`."""
        return mean(
            [
                _relative(*same_size(regressor(s), t), mask)
                for regressor, (s,), (t,) in zip(self.regressors, learned, taught, strict=True)
            ]
        )


def _relative(s: Tensor, t: Tensor, mask: Tensor | None) -> Tensor:
    error, own = (s - t).square().mean(-1), t.square().mean(-1)  # of tokens the features; of images no matter what
    return mean_over(error, mask) / mean_over(own, mask).clamp_min(1e-12)
