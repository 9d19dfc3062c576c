"""A layer that can be taken apart, and what that would cost."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn

from paring.steps.factorize.low_rank.factors import Cost, cost
from paring.steps.factorize.low_rank.layers import Layer
from paring.steps.factorize.low_rank.split import Ranks, Split


@dataclass(frozen=True)
class Candidate:
    """A layer, ready to be taken apart.

    Attributes:
        layer: what is known of it.
        module: itself.
        split: its decomposition.
        round_to: its ranks are multiples of this, or the largest.
    """

    layer: Layer
    module: nn.Module
    split: Split
    round_to: int
    _costs: dict[Ranks, Cost] = field(default_factory=dict, compare=False)

    @property
    def looks_up(self) -> bool:
        """Whether it is an embedding."""
        return isinstance(self.module, nn.Embedding)

    @cached_property
    def whole(self) -> Cost:
        """Of the layer itself."""
        weight, macs = self.module.get_parameter("weight"), 0
        if not self.looks_up:
            for shape in self.layer.shapes:
                with torch.no_grad():
                    given = self.module(torch.zeros(shape, device=weight.device))
                channels = given.shape[-1 if isinstance(self.module, nn.Linear) else 1]
                macs += given.numel() // channels * weight.numel()
        return Cost(macs, sum(one.numel() for one in self.module.parameters()))

    @cached_property
    def ladder(self) -> list[Ranks]:
        """The ranks, ascending, at which factors cost less than the layer."""
        ladder = self.split.ladder(self.round_to)
        low, high = 0, len(ladder)
        while low < high:  # costs rise with the ranks
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.saves(ladder[middle]) else (low, middle)
        return ladder[:low]

    def cost(self, ranks: Ranks) -> Cost:
        """Of the factors."""
        if ranks not in self._costs:
            self._costs[ranks] = cost(self.split.layout(ranks), self.layer.shapes)
        return self._costs[ranks]

    def saves(self, ranks: Ranks) -> bool:
        """Whether factors have fewer parameters and, but for those of an embedding, fewer multiply–accumulates."""
        found = self.cost(ranks)
        return found.parameters < self.whole.parameters and (self.looks_up or found.macs < self.whole.macs)
