"""Which widths a group may take."""

from collections.abc import Sequence
from math import ceil, gcd

from paring.steps.prune.structure.groups import Group


def choices(group: Group, round_to: int, floor: float, least: int) -> list[int]:
    """Units that may stay, ascending; the last is all of them.

    Every other choice leaves a multiple of `round_to` channels, at least `floor` of them and at least `least`. A group
    that is no wider than `round_to` keeps its width.
    """
    step = round_to // gcd(round_to, group.channels)
    smallest = max(ceil(floor * group.units), ceil(least / group.channels), 1)
    if group.width <= round_to:
        return [group.units]
    return [*range(ceil(smallest / step) * step, group.units, step), group.units]


def nearest(allowed: Sequence[int], wanted: float) -> int:
    """The choice nearest to a number of units."""
    return min(allowed, key=lambda units: abs(units - wanted))
