"""The masks of `prune.rigl`: as many weights come as go."""

from collections.abc import Mapping, Sequence
from math import cos, pi

import torch
from torch import Tensor

from paring.steps.prune.sparsity.masks import largest
from paring.steps.prune.sparsity.moving import Held, Moving


class DropAndGrow(Moving):
    """Evci et al. 2020, arXiv:1911.11134, algorithm 1.

    Args:
        masks: tensor -> where weights are at the start.
        fraction: α of f(t) = α/2 · (1 + cos(t · π / T_end)), the share of a tensor's weights that is exchanged.
        frequency: steps between two exchanges.
        end: T_end, in steps.
        where: the step.
        remedy: where a layer is left without weights.
    """

    def __init__(
        self, masks: Mapping[str, Tensor], fraction: float, frequency: int, end: int, where: str, remedy: str
    ) -> None:
        super().__init__(masks, where, remedy)
        self._fraction, self._frequency, self._end = fraction, frequency, end

    def move(self, held: Sequence[Held], done: int) -> None:
        """See `Moving.move`. Where the mask is 0 the gradient is there all the same: that of a weight which is 0."""
        if done % self._frequency or not 0 < done < self._end:
            return
        share = self._fraction / 2 * (1 + cos(done * pi / self._end))
        for one in held:
            if one.weight.grad is None:  # of a training that goes on: this was done before its state was saved
                continue
            there = int(one.active.sum())
            count = int(share * there)
            stays = largest(one.weight.abs().masked_fill(~one.active, -1), there - count)
            grows = largest(one.weight.grad.abs().masked_fill(stays, -1), count)
            one.weight.masked_fill_(grows & ~one.active, 0.0)
            one.mask.copy_(torch.logical_or(stays, grows))
