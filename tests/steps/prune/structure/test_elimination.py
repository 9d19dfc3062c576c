"""Elimination: each step against least squares."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring import load
from paring.steps.prune.structure.compensate import Compensation
from paring.steps.prune.structure.elimination import Reader, order
from paring.steps.prune.structure.proof import prunable
from paring.testing.models import TinyTask


def reader(seed: int, inputs: int, rows: int = 3) -> tuple[Reader, torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    x = torch.randn(200, inputs, generator=chance, dtype=torch.float64)
    x = x @ torch.randn(inputs, inputs, generator=chance, dtype=torch.float64)
    covariance = x.T @ x / len(x)
    weight = torch.randn(rows, inputs, generator=chance, dtype=torch.float64)
    made = Reader(weight.clone(), torch.linalg.inv(covariance), 1.0, [[i] for i in range(inputs)])
    return made, covariance, weight


def error(weight: torch.Tensor, covariance: torch.Tensor, kept: list[int]) -> float:
    """Of the best refit on the inputs that stay: tr(W Σ Wᵀ) − tr(B Σ_KK Bᵀ), B = W Σ_:K Σ_KK⁻¹."""
    cross = weight @ covariance[:, kept]
    fit = torch.linalg.solve(covariance[kept][:, kept], cross.T).T
    return float(((weight @ covariance) * weight).sum() - (fit * cross).sum())


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(3, 7))
def test_costs_are_what_the_best_refit_loses(seed, inputs):
    one, covariance, weight = reader(seed, inputs)
    gone: list[int] = []
    lost = 0.0
    for unit in range(inputs - 1):
        left = [i for i in range(inputs) if i not in gone]
        costs = one.costs(left)
        for position, i in enumerate(left):
            wanted = error(weight, covariance, [k for k in left if k != i]) - lost
            assert abs(float(costs[position]) - wanted) <= 1e-5 * (1 + abs(wanted) + lost)
        one.remove(unit)
        gone.append(unit)
        lost = error(weight, covariance, [i for i in range(inputs) if i not in gone])


def test_the_order_takes_the_cheapest_each_time():
    one, covariance, weight = reader(3, 6)
    left, wanted = list(range(6)), []
    for _ in range(6):
        errors = {i: error(weight, covariance, [k for k in left if k != i]) for i in left}
        wanted.append(min(errors, key=lambda i: errors[i]))
        left.remove(wanted[-1])
    assert order([one], 6).argsort().tolist() == wanted


def test_one_of_two_that_tell_the_same_goes_first_and_the_other_stays():
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(500, 6, generator=chance, dtype=torch.float64)
    x[:, 4] = 2 * x[:, 1] + 1e-3 * torch.randn(500, generator=chance, dtype=torch.float64)
    weight = torch.randn(3, 6, generator=chance, dtype=torch.float64)
    weight[:, [1, 4]] *= 20  # by their norm both would stay
    scores = order([Reader(weight, torch.linalg.inv(x.T @ x / 500), 1.0, [[i] for i in range(6)])], 6)
    assert {int(scores.argmin()), int(scores.argmax())} == {1, 4}


def test_without_covariances_there_is_none():
    model = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))
    structure = prunable(model)
    assert Compensation(model, structure, TinyTask(), 0, 32).importance(structure.groups[0]) is None
