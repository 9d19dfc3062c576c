"""What the methods have in common: a layer, ready to be taken apart at any of some ranks."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from paring.steps.factorize.low_rank.factors import Factor, Layout
from paring.steps.factorize.low_rank.metric import Metric

Ranks = tuple[int, ...]
"""The width between factors; of Tucker at the input and at the output."""


class NoFactors(Exception):
    """A layer cannot be taken apart at a rank; the text says why."""


class Split(Protocol):
    """One layer."""

    most: Ranks
    """The largest ranks that there can be."""

    def ladder(self, round_to: int) -> list[Ranks]:
        """Ranks to choose from, ascending, each a multiple of `round_to` or the largest."""

    def kept(self, ranks: Ranks) -> float:
        """The share of the energy that stays, 0 to 1, or a bound from below. Raises NoFactors."""

    def vbmf(self) -> Ranks:
        """The ranks that analytic variational Bayes finds in the weight; 0 where it finds but noise."""

    def layout(self, ranks: Ranks) -> list[Layout]:
        """What the factors would be."""

    def factors(self, ranks: Ranks) -> list[Factor]:
        """The factors. Raises NoFactors."""


class Method(Protocol):
    """A way to take layers apart."""

    def refusal(self, layer: nn.Module) -> str:
        """Why it cannot take a layer apart; empty if it can."""

    def split(self, layer: nn.Module, metric: Metric, counts: Tensor | None) -> Split:
        """The layer, ready. `counts` of an embedding: how often each row is looked up."""


def multiples(most: int, round_to: int) -> list[int]:
    """Multiples below the largest rank, and that."""
    return [*range(round_to, most, round_to), most]


def up(ladder: Sequence[Ranks], wanted: Ranks) -> Ranks | None:
    """The least ranks of a ladder that reach those wanted; None if none does."""
    return next((one for one in ladder if all(a >= b for a, b in zip(one, wanted, strict=True))), None)


def told(ranks: Ranks) -> str:
    """For people: `8`, or `8×16` of Tucker."""
    return "×".join(map(str, ranks))
