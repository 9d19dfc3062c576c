"""The sensitivity scan: what the answers lose when one group alone is cut.

Each group is cut for real at a few widths, the others being whole, and the answers are compared with those of the uncut
network on calibration samples; labels are not needed. Between two widths the loss is interpolated. Of several groups
the losses are taken to add up, as He et al. 2018, "AMC", arXiv:1802.03494, section 1, describes the practice of
sensitivity analysis, and as holds to first order.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from paring.core.step import Progress
from paring.steps.losses import Losses
from paring.steps.prune.structure.groups import Group, Structure
from paring.steps.prune.structure.importance import Scores

Cut = Callable[[Mapping[str, Sequence[int]]], nn.Module]  # group -> units that stay -> the smaller network
SHARES = (0.75, 0.5, 0.25)  # of a group's units that stay, and the fewest that may


def best(group: Group, scores: Scores, units: int) -> list[int]:
    """The units of a group that matter most, ascending."""
    order = scores[group.name].argsort(descending=True, stable=True)[:units]
    return sorted(order.tolist())


def widths_to_scan(allowed: Sequence[int]) -> list[int]:
    """A few of the widths that a group may take, descending, without the whole."""
    wanted = [min(allowed, key=lambda units: abs(units - share * allowed[-1])) for share in SHARES]
    return sorted({*wanted, allowed[0]} - {allowed[-1]}, reverse=True)


def scan(
    structure: Structure, scores: Scores, allowed: Mapping[str, Sequence[int]], cut: Cut, losses: Losses,
    progress: Progress,
) -> dict[str, dict[int, float]]:  # fmt: skip
    """Group -> units that stay -> loss; the whole loses nothing."""
    plan = [(group, units) for group in structure.groups for units in widths_to_scan(allowed[group.name])]
    found = {group.name: {group.units: 0.0} for group in structure.groups}
    with progress.bar("sensitivity", len(plan)) as advance:
        for group, units in plan:
            found[group.name][units] = losses(cut({group.name: best(group, scores, units)}))
            advance(1, group.name)
    return found


def passes(allowed: Mapping[str, Sequence[int]]) -> int:
    """How many networks a scan compares."""
    return sum(len(widths_to_scan(one)) for one in allowed.values())
