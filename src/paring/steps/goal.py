"""The budget of a cut: a share on paper, or what the target measures."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Deployed
from paring.recipes.quantity import budget

TRIALS = 7  # cuts that are exported and measured
_NEAR = 0.97  # of the limit: near enough to stop
_FACTOR = re.compile(r"\s*(\d*\.?\d+)\s*[x×]\s*")


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that the file of a model may cost.

    Attributes:
        name: `latency` or `size`.
        value: in `unit`, or of the model before where `relative`.
        unit: `ms` or `bytes`.
        relative: whether the value is a factor.
    """

    name: str
    value: float
    unit: str
    relative: bool = False

    def of(self, deployed: Deployed) -> float:
        """What the file costs."""
        return deployed.latency_ms if self.name == "latency" else float(deployed.size_bytes)


def check(latency: str | None, size: str | None) -> None:
    """Raises ValueError for a limit that cannot be read."""
    try:
        limit(latency, size, "prune.channels")
    except ParingError as error:
        raise ValueError(error.problem) from error


def limit(latency: str | None, size: str | None, where: str) -> Limit | None:
    """The limit of the two; None where neither is given."""
    if latency is not None:
        match = _FACTOR.fullmatch(latency)
        if match is not None:
            factor = float(match[1])
            if not 0 < factor < 1:
                raise ParingError(f"latency: {latency!r} is not less than the model before", where, "e.g. 0.6x")
            return Limit("latency", factor, "ms", relative=True)
        found = budget("latency", latency, where)
        return Limit("latency", found.limit, found.unit)
    if size is not None:
        found = budget("size", size, where)
        return Limit("size", found.limit, found.unit)
    return None


def measured(model: Model, deployed: Callable[[Model], Deployed] | None, where: str) -> Deployed:
    """What a model costs on the target.

    Raises:
        ParingError: there is no target to measure on.
    """
    if deployed is None:
        raise ParingError(
            "a budget of latency or size is measured on a target, and there is none here",
            where,
            "run the step in a recipe, which has targets, or give the budget as macs or parameters",
        )
    return deployed(model)


def told(before: Model, after: Model) -> str:
    """What became of multiply–accumulates and parameters, for people."""
    from paring.measure import cost

    return ", ".join(
        f"{name} {count(before):,} → {count(after):,} ({100 * count(after) / count(before):.1f} %)"
        for name, count in (("MACs", cost.macs), ("parameters", cost.parameters))
    )


def largest_share(at: Callable[[float], float], least: float, before: float, limit: float) -> tuple[float, float]:
    """The largest share of the network whose measured cost is within the limit, found in a few trials.

    The cost is taken for a straight line between the trials on both sides of the limit.

    Args:
        at: measures the network of a share.
        least: the smallest share that there is.
        before: what the whole network costs.
        limit: of the cost.

    Returns:
        Share and cost of the best trial; the cost is above the limit only where the least share's is.
    """
    if before <= limit:
        return 1.0, before
    low: tuple[float, float] | None = None  # within the limit
    above, high = (1.0, before), (1.0, before)  # the last two beyond it
    share = max(least, limit / before)
    for _ in range(TRIALS - 1):
        value = at(share)
        if value > limit:
            above, high = high, (share, value)
            if share == least:
                return share, value
        elif low is None or share > low[0]:
            low = share, value
        if low is not None and (low[1] >= _NEAR * limit or low[0] >= high[0]):
            return low
        share = _within(low, high, limit) if low is not None else _below(above, high, least, limit)
    if low is None:
        low = least, at(least)
    return low


def _within(low: tuple[float, float], high: tuple[float, float], limit: float) -> float:
    """Where the line between both sides meets the limit, not too near to either."""
    (below, cheap), (above, dear) = low, high
    share = below + (above - below) * (limit - cheap) / max(dear - cheap, 1e-12)
    margin = 0.1 * (above - below)
    return min(max(share, below + margin), above - margin)


def _below(above: tuple[float, float], high: tuple[float, float], least: float, limit: float) -> float:
    """Where the line through two trials beyond the limit would meet it, and a little further."""
    slope = (above[1] - high[1]) / max(above[0] - high[0], 1e-12)
    if slope <= 0:  # noise, or a single trial
        return max(least, high[0] / 2)
    return max(least, min(0.95 * (high[0] - (high[1] - limit) / slope), 0.95 * high[0]))
