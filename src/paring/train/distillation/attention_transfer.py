"""Where in an image a network looks.

Zagoruyko and Komodakis 2017, "Paying More Attention to Attention", arXiv:1612.03928, equation 2.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import normalize

from paring.core.errors import ParingError
from paring.train.distillation.feature import FeatureLoss, Pair, mean, same_size
from paring.train.distillation.options import AttentionTransferConfig


class AttentionTransfer(FeatureLoss):
    """‖Q(s)/‖Q(s)‖ − Q(t)/‖Q(t)‖‖², where Q(x) = Σ_c x_c² says how much goes on at each place of an image.

    Raises:
        ParingError: a layer does not give images.
    """

    def __init__(self, config: AttentionTransferConfig, pairs: Sequence[Pair]) -> None:
        super().__init__()
        for point in (point for pair in pairs for point in pair):
            if len(point.shape) != 3:
                raise ParingError(
                    f"{point.name} gives {point.shape} for a sample, not (channels, height, width)",
                    "attention_transfer",
                    "name layers that give images, or use hints, hidden_cosine or attention_maps",
                )

    def forward(
        self, learned: Sequence[Sequence[Tensor]], taught: Sequence[Sequence[Tensor]], mask: Tensor | None
    ) -> Tensor:
        """See `FeatureLoss`."""
        pairs = [same_size(s, t) for (s,), (t,) in zip(learned, taught, strict=True)]
        return mean([(_attention(s) - _attention(t)).square().sum(1).mean() for s, t in pairs])


def _attention(x: Tensor) -> Tensor:
    """Shape (batch, places)."""
    return normalize(x.square().mean(1).flatten(1))
