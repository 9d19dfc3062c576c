"""Which layer gets which of several choices: least loss within a limit, solved exactly."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from paring.core.errors import ParingError
from paring.core.quiet import quiet

Table = Sequence[Sequence[float]]  # layer, choice


def assign(losses: Table, costs: Table, limit: float) -> list[int]:
    """For each layer the number of its choice, so that the losses' sum is least and the costs' sum within `limit`.

    A multiple-choice knapsack, solved by branch and bound (HiGHS): minimize Σ l·x subject to Σ c·x ≤ limit and one
    choice per layer, x binary.

    Args:
        losses: of each choice of each layer, non-negative.
        costs: likewise.
        limit: of the sum of costs.

    Raises:
        ParingError: even the cheapest choices cost more.
    """
    least = sum(min(row) for row in costs)
    if least > limit:
        raise ParingError(
            f"the cheapest choices come to {least:.0f}, the limit is {limit:.0f}", "assignment", "raise the limit"
        )
    sizes = [len(row) for row in losses]
    flat_losses, flat_costs = (np.array([value for row in table for value in row]) for table in (losses, costs))
    one_each = np.zeros((len(sizes), len(flat_losses)))
    for row, (start, size) in enumerate(zip(_starts(sizes), sizes, strict=True)):
        one_each[row, start : start + size] = 1
    with quiet():  # HiGHS prints now and then
        found = milp(
            flat_losses / (flat_losses.max() or 1.0),
            integrality=np.ones_like(flat_losses),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(one_each, 1, 1),
                LinearConstraint(flat_costs[None] / (limit or 1.0), -np.inf, 1 + 1e-12),
            ],
            options={"mip_rel_gap": 0.0},
        )
    if found.x is None:
        raise ParingError(f"the solver gave up: {found.message}", "assignment", "report the limits that show it")
    return _chosen(found.x, sizes)


def _chosen(x: NDArray[np.float64], sizes: Sequence[int]) -> list[int]:
    return [int(x[start : start + size].argmax()) for start, size in zip(_starts(sizes), sizes, strict=True)]


def _starts(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:row]) for row in range(len(sizes))]
