"""Which rank a layer gets by a rule that looks at this layer alone."""

from typing import Protocol

from paring.steps.factorize.low_rank.candidates import Candidate
from paring.steps.factorize.low_rank.split import NoFactors, Ranks, told, up


class Rule(Protocol):
    """What `chosen` reads of a step's options: one of them is given, or variational Bayes decides."""

    @property
    def energy(self) -> float | None:
        """Share of the energy that stays."""

    @property
    def rank(self) -> int | tuple[int, int] | None:
        """The rank itself."""

    @property
    def ratio(self) -> float | None:
        """Share of the layer's parameters that stay."""


def chosen(layer: Candidate, rule: Rule) -> Ranks:
    """The ranks of a layer.

    Raises:
        NoFactors: no rank that the rule allows is worth it.
    """
    if rule.rank is not None:
        return _given(layer, rule.rank)
    if not layer.ladder:
        raise NoFactors("it is too small: factors of any rank would cost more")
    if rule.energy is not None:
        return _enough(layer, rule.energy)
    if rule.ratio is not None:
        return _within(layer, rule.ratio)
    found = layer.split.vbmf()
    if not all(found):
        raise NoFactors("variational Bayes finds but noise in it")
    ranks = up(layer.ladder, found)
    if ranks is None:
        raise NoFactors(f"variational Bayes finds rank {told(found)}, and its factors would cost more")
    return ranks


def _given(layer: Candidate, rank: int | tuple[int, int]) -> Ranks:
    most = layer.split.most
    found = rank if isinstance(rank, tuple) else (rank,) * len(most)
    if any(one > other for one, other in zip(found, most, strict=True)):
        raise NoFactors(f"rank {told(found)} is over the {told(most)} that it can have")
    if not layer.saves(found):
        raise NoFactors(f"its factors of rank {told(found)} would cost more")
    return found


def _enough(layer: Candidate, energy: float) -> Ranks:
    kept, ladder = layer.split.kept, layer.ladder
    if kept(ladder[-1]) < energy:
        raise NoFactors(
            f"at rank {told(ladder[-1])}, the highest that saves anything, {kept(ladder[-1]):.3f} of its energy stays"
        )
    low, high = 0, len(ladder) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(ladder[middle]) >= energy else (middle + 1, high)
    return ladder[low]


def _within(layer: Candidate, ratio: float) -> Ranks:
    fitting = [ranks for ranks in layer.ladder if layer.cost(ranks).parameters <= ratio * layer.whole.parameters]
    if not fitting:
        raise NoFactors(f"even rank {told(layer.ladder[0])} leaves more than {ratio:g} of its parameters")
    return fitting[-1]
