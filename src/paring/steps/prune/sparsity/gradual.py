"""The masks of `prune.magnitude: {polynomial: …}`: the smallest weights go as the network trains."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from paring.steps.prune.sparsity.masks import by_size
from paring.steps.prune.sparsity.moving import Held, Moving
from paring.steps.prune.sparsity.polynomial import Polynomial

if TYPE_CHECKING:
    from paring.steps.prune.magnitude import MagnitudeConfig


class Gradual(Moving):
    """The share of zeros follows the polynomial.

    With `regrow` the weights are kept whole beside the network: where the mask is 0 they take the step that the
    optimizer makes of the gradient at 0 (Lin et al. 2020, arXiv:2006.07253, equation 1), and masks are chosen by them.

    Args:
        module: that training begins with.
        names: of the tensors.
        config: of the step.
        polynomial: its schedule.
        end: of the schedule, in steps.
        where: the step.
        remedy: where a layer is left without weights.
    """

    def __init__(
        self,
        module: nn.Module,
        names: Sequence[str],
        config: "MagnitudeConfig",
        polynomial: Polynomial,
        end: int,
        where: str,
        remedy: str,
    ) -> None:
        ones = {name: torch.ones_like(module.get_parameter(name), dtype=torch.uint8) for name in names}
        super().__init__(ones, where, remedy)
        self._polynomial, self._end = polynomial, end
        self._final, self._scope = config.sparsity, config.scope
        if config.regrow:
            self.more = ("dense",)

    def move(self, held: Sequence[Held], done: int) -> None:
        """See `Moving.move`: the sizes of weights that are 0 already are smaller than all others."""
        for one in held:
            if self.more:
                keep_whole(one.weight, one.mask, one.more)
        if self._polynomial.moves(done, self._end):
            share = self._polynomial.share(done, self._end, self._final)
            sizes = [
                one.more["dense"].abs() if self.more else one.weight.abs().masked_fill(~one.active, -1) for one in held
            ]
            for one, mask in zip(held, by_size(sizes, share, self._scope), strict=True):
                one.mask.copy_(mask)
                if self.more:
                    one.weight.copy_(one.more["dense"])


def keep_whole(weight: Tensor, mask: Tensor, more: Mapping[str, Tensor]) -> None:
    """Carries the optimizer's step over to the whole weights, which go on from where they are, not from 0."""
    dense = more["dense"]
    dense.copy_(torch.where(mask != 0, weight, dense + weight))
