"""How wide each group stays, under a limit on multiply–accumulates or parameters.

`uniform`: the same share of every group. `global`: all units ranked together by their scores, each divided by the mean
of its group (Molchanov et al. 2019, arXiv:1906.10771, section 3, ranks over all layers). `sensitivity`: the widths
whose losses, as the scan found them, have the least sum: a multiple-choice knapsack (`paring.steps.assign`). Its costs
are products of widths, so it is solved again and again with the cost of a change at the present widths, each change
within a factor, from the whole network down to the limit; then what rounding left of the limit is filled, and changes
of two groups at once are tried.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from paring.core.errors import ParingError
from paring.steps.assign import assign
from paring.steps.prune.structure.choices import nearest
from paring.steps.prune.structure.costs import Costs
from paring.steps.prune.structure.importance import Scores

Allowed = Mapping[str, Sequence[int]]  # group -> units that may stay, ascending
_DOWN, _AT_LIMIT = 6, 6  # rounds towards the limit, and at it
_FACTOR = 0.6  # by which a width may change in a round
_HALVINGS = 40
_SWEEPS, _GAIN = 20, 1e-9  # of exchanges: passes over the groups, and what one must gain
_FEW = 1000  # combinations of widths that are all tried


def uniform(costs: Costs, allowed: Allowed, limit: float) -> dict[str, int]:
    """The largest share of every group within the limit."""
    return _largest(lambda share: shared(allowed, share), costs, limit)


def shared(allowed: Allowed, share: float) -> dict[str, int]:
    """The same share of every group, as nearly as the widths that are allowed come to it."""
    return {name: nearest(one, share * one[-1]) for name, one in allowed.items()}


def ranked(costs: Costs, allowed: Allowed, scores: Scores, limit: float) -> dict[str, int]:
    """The units whose scores stand above a threshold, the same for all groups, as low as the limit lets it be."""
    relative = {name: (scores[name] / scores[name].mean().clamp_min(1e-300)).numpy() for name in allowed}
    ladder = np.sort(np.concatenate(list(relative.values())))[::-1]

    def at(share: float) -> dict[str, int]:
        threshold = ladder[min(len(ladder) - 1, int(share * (len(ladder) - 1)))]
        return {name: nearest(one, int((relative[name] >= threshold).sum())) for name, one in allowed.items()}

    return _largest(at, costs, limit)


def least_loss(
    costs: Costs, allowed: Allowed, curves: Mapping[str, NDArray[np.float64]], limit: float
) -> dict[str, int]:
    """The widths with the least summed loss within the limit.

    Args:
        costs: of the network.
        allowed: widths of each group.
        curves: the loss at each of them.
        limit: of the cost.
    """
    names = [group.name for group in costs.groups]
    table, losses = [list(allowed[name]) for name in names], [curves[name] for name in names]
    now = {name: one[-1] for name, one in zip(names, table, strict=True)}
    best: tuple[float, dict[str, int]] = (np.inf, now)
    start = costs.of(now)
    if start <= limit:
        return now
    if prod(map(len, table)) <= _FEW:
        return _least_of_all(costs, names, table, losses, limit)
    for target in [*np.geomspace(start, limit, _DOWN + 1)[1:], *[limit] * _AT_LIMIT]:
        now = _round(costs, names, table, losses, now, float(target))
        fitting = _fitted(costs, names, table, losses, now, limit) if target <= limit else None
        if fitting is not None:
            value = sum(float(losses[i][table[i].index(fitting[name])]) for i, name in enumerate(names))
            best = min(best, (value, fitting), key=lambda one: one[0])
            now = fitting
    return _exchanged(costs, names, table, losses, best[1], limit)


def _least_of_all(
    costs: Costs, names: Sequence[str], table: Sequence[Sequence[int]], losses: Sequence[NDArray[np.float64]],
    limit: float,
) -> dict[str, int]:  # fmt: skip
    """The best of every combination; of equal ones that which costs least."""
    lost = [dict(zip(one, loss, strict=True)) for one, loss in zip(table, losses, strict=True)]
    every = (dict(zip(names, one, strict=True)) for one in product(*table))
    priced = ((costs.of(one), one) for one in every)
    fitting = [
        (sum(float(of[n]) for of, n in zip(lost, one.values(), strict=True)), c, one) for c, one in priced if c <= limit
    ]
    if not fitting:
        raise ParingError("no widths are within the limit", "widths", "raise the limit")
    return min(fitting, key=lambda one: one[:2])[2]


def _exchanged(
    costs: Costs, names: Sequence[str], table: Sequence[Sequence[int]], losses: Sequence[NDArray[np.float64]],
    now: Mapping[str, int], limit: float,
) -> dict[str, int]:  # fmt: skip
    """Improved by changes of two groups at once, which what counts one group's changes alone does not see."""
    found = dict(now)
    for _ in range(_SWEEPS):
        before = dict(found)
        for i, name in enumerate(names):
            at = [float(loss[one.index(found[n])]) for n, one, loss in zip(names, table, losses, strict=True)]
            best, change = -_GAIN, dict[str, int]()
            for units, loss in zip(table[i], losses[i], strict=True):
                for j, row in enumerate(costs.alone({**found, name: units}, table)):
                    if j != i:
                        moves = np.where(row <= limit, float(loss) - at[i] + losses[j] - at[j], np.inf)
                        place = int(moves.argmin())
                        if moves[place] < best:
                            best, change = float(moves[place]), {name: units, names[j]: table[j][place]}
            found |= change
        if found == before:
            break
    return found


def _round(
    costs: Costs, names: Sequence[str], table: Sequence[Sequence[int]], losses: Sequence[NDArray[np.float64]],
    now: Mapping[str, int], target: float,
) -> dict[str, int]:  # fmt: skip
    """One knapsack, its costs taken at the present widths."""
    near = [
        [i for i, units in enumerate(one) if _near(units, now[n], one)] for n, one in zip(names, table, strict=True)
    ]
    options = [[one[i] for i in keep] for one, keep in zip(table, near, strict=True)]
    alone = costs.alone(now, options)
    least = [float(row.min()) for row in alone]
    room = target - costs.of(now) + sum(costs.of(now) - one for one in least)
    shifted = [[float(value) - low for value in row] for row, low in zip(alone, least, strict=True)]
    if room < 0:  # not in one round: as far down as it goes
        return {name: one[int(row.argmin())] for name, one, row in zip(names, options, alone, strict=True)}
    value = [[float(loss[i]) for i in keep] for loss, keep in zip(losses, near, strict=True)]
    chosen = assign(value, shifted, room)
    return {name: one[pick] for name, one, pick in zip(names, options, chosen, strict=True)}


def _near(units: int, present: int, allowed: Sequence[int]) -> bool:
    position = allowed.index(present)
    beside = allowed[max(0, position - 1)], allowed[min(len(allowed) - 1, position + 1)]
    return _FACTOR * present <= units <= present / _FACTOR or units in beside


def _fitted(
    costs: Costs, names: Sequence[str], table: Sequence[Sequence[int]], losses: Sequence[NDArray[np.float64]],
    now: Mapping[str, int], limit: float,
) -> dict[str, int]:  # fmt: skip
    """Brought within the limit, by the changes that lose least for what they save; then filled, by the like."""
    found = dict(now)
    while costs.of(found) > limit:
        steps = _steps(costs, names, table, losses, found, -1)
        if not steps:
            raise ParingError("no widths are within the limit", "widths", "raise the limit")
        name, units, _ = min(steps, key=lambda one: one[2])
        found[name] = units
    while True:
        steps = [
            (name, units, rate)
            for name, units, rate in _steps(costs, names, table, losses, found, +1)
            if rate > 0 and costs.of({**found, name: units}) <= limit
        ]
        if not steps:
            return found
        name, units, _ = max(steps, key=lambda one: one[2])
        found[name] = units


def _steps(
    costs: Costs, names: Sequence[str], table: Sequence[Sequence[int]], losses: Sequence[NDArray[np.float64]],
    now: Mapping[str, int], direction: int,
) -> list[tuple[str, int, float]]:  # fmt: skip
    """(group, its next width in that direction, change of loss for a unit of cost)."""
    present, found = costs.of(now), []
    places = [one.index(now[name]) for name, one in zip(names, table, strict=True)]
    options = [
        [one[place + direction]] if 0 <= place + direction < len(one) else [one[place]]
        for one, place in zip(table, places, strict=True)
    ]
    for i, row in enumerate(costs.alone(now, options)):
        target = places[i] + direction
        if 0 <= target < len(table[i]):
            saved = abs(float(row[0]) - present)
            change = abs(float(losses[i][target] - losses[i][places[i]]))
            found.append((names[i], table[i][target], change / max(saved, 1e-9)))
    return found


def _largest(at: Callable[[float], dict[str, int]], costs: Costs, limit: float) -> dict[str, int]:
    """`at(share)` for the largest share within the limit, by halves."""
    if costs.of(at(1.0)) <= limit:
        return at(1.0)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if costs.of(at(middle)) <= limit else (low, middle)
    return at(low)
