"""How many heads and feed-forward units each layer keeps, and which."""

from collections.abc import Mapping, Sequence
from math import lcm
from typing import Literal

import torch
from torch import Tensor

from paring.core.errors import ParingError
from paring.steps.prune.structure.attention import Units

Scope = Literal["layer", "global"]
_WHOLE = 0.01  # of a head: so near is a share with few digits, such as 0.333 of 12


def budget(units: Sequence[Units], wanted: float, round_to: int, scope: Scope, where: str) -> list[int]:
    """How many are to stay: of each layer, or a single number for all layers together.

    Args:
        units: of one kind.
        wanted: a share, or as an `int` a number.
        round_to: what the width of a feed-forward layer is a multiple of.
        scope: `layer` or `global`.
        where: the option, for the error.

    Raises:
        ParingError: heads do not divide so, or there are not so many.
    """
    if units[0].kind == "feed_forward":
        if scope == "global":
            return [max(round(wanted * sum(one.count for one in units)), sum(_chunk(one, round_to) for one in units))]
        return [_rounded(wanted, one.count, _chunk(one, round_to)) for one in units]
    if scope == "global":
        return [_heads(wanted, units, f"{len(units)} layers", where)]
    return [_heads(wanted, [one], one.name, where) for one in units]


def staying(
    units: Sequence[Units], scores: Mapping[str, Tensor], left: Sequence[int], round_to: int, scope: Scope
) -> dict[str, Tensor]:
    """Name of the units -> indices of those that stay, int64, ascending.

    Args:
        units: of one kind.
        scores: name -> how much each matters.
        left: as `budget` gives it.
        round_to: likewise.
        scope: likewise.
    """
    if scope == "global":
        left = _spread(units, scores, left[0], round_to)
    best = {one.name: _order(scores[one.name], one.groups) for one in units}
    return {one.name: best[one.name][:count].sort().values for one, count in zip(units, left, strict=True)}


def _spread(units: Sequence[Units], scores: Mapping[str, Tensor], total: int, round_to: int) -> list[int]:
    """How many each layer keeps of `total`: the best chunk of each, then the best of all, while they fit."""
    left = [_chunk(one, round_to) for one in units]
    offers = []
    for index, one in enumerate(units):
        best = scores[one.name][_order(scores[one.name], one.groups)]
        chunks = torch.split(best, _chunk(one, round_to))
        offers += [(float(chunk.mean()), index, len(chunk)) for chunk in chunks[1:]]
    for _, index, size in sorted(offers, key=lambda offer: -offer[0]):
        if sum(left) + size > total:
            break
        left[index] += size
    return left


def _order(score: Tensor, groups: int) -> Tensor:
    """Units from the best to the worst, those of the groups in turn: of what begins it, each group has as many."""
    best = score.reshape(groups, -1).argsort(dim=1, descending=True, stable=True)
    return (best + torch.arange(groups)[:, None] * best.shape[1]).T.flatten()


def _chunk(one: Units, round_to: int) -> int:
    """How many units go or stay together."""
    return one.groups if one.kind == "heads" else min(one.count, lcm(round_to, one.groups))


def _rounded(share: float, count: int, chunk: int) -> int:
    """The multiple of `chunk` next to a share of `count`, at least one; `count` itself is always allowed."""
    return count if share == 1 else min(count, max(chunk, chunk * round(share * count / chunk)))


def _heads(wanted: float, units: Sequence[Units], layer: str, where: str) -> int:
    there = sum(one.count for one in units)
    left = wanted if isinstance(wanted, int) else wanted * there
    least, step = sum(one.groups for one in units), max(one.groups for one in units)
    whole = list(range(least, there + 1, step))
    if abs(left - round(left)) < _WHOLE and round(left) in whole:
        return round(left)
    told = f"{wanted} of {there}" if isinstance(wanted, int) else f"{wanted} of {there} are {left:g}"
    grouped = f", which go {step} at a time, as its convolutions have groups" if step > 1 else ""
    fits = f"{whole[0]} to {whole[-1]}" if len(whole) > 4 and step == 1 else ", ".join(map(str, whole))
    raise ParingError(
        f"heads do not divide so: {told}{grouped}",
        f"{where}: {layer}",
        f"a number that can stay: {fits}, or other layers",
    )
