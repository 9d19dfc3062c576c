"""Widths within a limit."""

from itertools import combinations, product
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring import load
from paring.steps.prune.structure import widths
from paring.steps.prune.structure.choices import choices
from paring.steps.prune.structure.costs import Costs
from paring.steps.prune.structure.proof import prunable

MODEL = load.open("torch:paring.testing.structures:concatenation", shape=(1, 8, 8))
FOUND = prunable(MODEL)
COSTS = {measure: Costs(MODEL, FOUND, measure) for measure in ("macs", "parameters")}
ALLOWED = {group.name: choices(group, 4, 0.1, 1) for group in FOUND.groups}


def curves(draw_steps):
    """Losses that fall as channels come back."""
    found = {}
    for (name, allowed), steps in zip(ALLOWED.items(), draw_steps, strict=True):
        found[name] = np.concatenate([np.cumsum(steps[: len(allowed) - 1])[::-1], [0.0]])
    return found


def total(chosen, losses):
    return sum(float(losses[name][ALLOWED[name].index(units)]) for name, units in chosen.items())


@settings(max_examples=15)
@given(
    st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=4, max_size=4),
    st.sampled_from(["macs", "parameters"]),
    st.floats(0.15, 0.95),
)
def test_of_few_widths_the_best_of_all_are_taken(steps, measure, share):
    costs, losses = COSTS[measure], curves(steps)
    limit = max(share * costs.total, costs.of({name: one[0] for name, one in ALLOWED.items()}))
    chosen = widths.least_loss(costs, ALLOWED, losses, limit)
    assert costs.of(chosen) <= limit
    every = (dict(zip(ALLOWED, one, strict=True)) for one in product(*ALLOWED.values()))
    best = min(total(one, losses) for one in every if costs.of(one) <= limit)
    assert total(chosen, losses) == pytest.approx(best)


@settings(max_examples=15)
@given(
    st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=4, max_size=4),
    st.sampled_from(["macs", "parameters"]),
    st.floats(0.15, 0.95),
)
def test_of_many_widths_no_change_of_two_groups_is_better(steps, measure, share):
    costs, losses = COSTS[measure], curves(steps)
    limit = max(share * costs.total, costs.of({name: one[0] for name, one in ALLOWED.items()}))
    with mock.patch.object(widths, "_FEW", 0):
        chosen = widths.least_loss(costs, ALLOWED, losses, limit)
    assert costs.of(chosen) <= limit
    for one, other in combinations(ALLOWED, 2):
        for changed in product(ALLOWED[one], ALLOWED[other]):
            tried = {**chosen, one: changed[0], other: changed[1]}
            assert costs.of(tried) > limit or total(tried, losses) >= total(chosen, losses) - 1e-6


@settings(max_examples=40)
@given(st.floats(0.2, 1.0), st.integers(0, 100))
def test_the_others_keep_to_the_limit_too(share, seed):
    costs = COSTS["macs"]
    limit = max(share * costs.total, costs.of({name: one[0] for name, one in ALLOWED.items()}))
    chance = torch.Generator().manual_seed(seed)
    scores = {group.name: torch.rand(group.units, generator=chance, dtype=torch.float64) for group in FOUND.groups}
    for chosen in (widths.uniform(costs, ALLOWED, limit), widths.ranked(costs, ALLOWED, scores, limit)):
        assert costs.of(chosen) <= limit
        assert all(units in ALLOWED[name] for name, units in chosen.items())


def test_a_group_that_costs_nothing_to_cut_is_cut_first():
    losses = {name: np.linspace(10.0, 0.0, len(one)) for name, one in ALLOWED.items()}
    losses["left.0"] = np.zeros(len(ALLOWED["left.0"]))
    chosen = widths.least_loss(COSTS["macs"], ALLOWED, losses, 0.75 * COSTS["macs"].total)
    assert chosen["left.0"] == ALLOWED["left.0"][0]
    assert chosen["stem.0"] == 16


def test_one_ranking_cuts_more_where_scores_are_low():
    scores = {group.name: torch.ones(group.units, dtype=torch.float64) for group in FOUND.groups}
    scores["last.0"][:12] = 0.01  # four channels stand out
    chosen = widths.ranked(COSTS["macs"], ALLOWED, scores, 0.8 * COSTS["macs"].total)
    assert chosen["last.0"] == 4
    assert chosen["stem.0"] == 16


@pytest.mark.parametrize(
    ("step", "floor", "least", "wanted"),
    [
        (4, 0.1, 1, [4, 8, 12, 16]),
        (8, 0.6, 1, [16]),
        (8, 0.1, 1, [8, 16]),
        (1, 0.8, 1, [13, 14, 15, 16]),
        (4, 0.1, 9, [12, 16]),
        (16, 0.1, 1, [16]),
        (5, 0.1, 1, [5, 10, 15, 16]),
    ],
)
def test_widths_that_are_allowed(step, floor, least, wanted):
    group = next(group for group in FOUND.groups if group.name == "stem.0")
    assert choices(group, step, floor, least) == wanted


def test_units_of_several_channels_count_by_channels():
    found = prunable(load.open("torch:paring.testing.structures:grouped", shape=(1, 8, 8)))
    group = next(group for group in found.groups if group.name == "body.0")  # 8 units of 4 channels
    assert choices(group, 8, 0.1, 1) == [2, 4, 6, 8]
