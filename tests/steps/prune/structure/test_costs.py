"""Costs on paper: exactly what the cut network costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paring import load
from paring.core.model import Model
from paring.measure import cost
from paring.steps.prune.structure.carve import carved
from paring.steps.prune.structure.costs import Costs
from paring.steps.prune.structure.proof import prunable

NAMES = ("chain", "concatenation", "grouped", "shared", "heads", "recurrent", "up_and_down", "attention")
MODELS = {name: load.open(f"torch:paring.testing.structures:{name}", shape=(1, 8, 8)) for name in NAMES}
FOUND = {name: prunable(model) for name, model in MODELS.items()}


def cut(name: str, widths: dict[str, int]) -> Model:
    from dataclasses import replace

    found, model = FOUND[name], MODELS[name]
    return replace(model, module=carved(model.module, found.kept({n: range(w) for n, w in widths.items()}), found.axes))


@settings(max_examples=40)
@given(st.data(), st.sampled_from(NAMES), st.sampled_from(["macs", "parameters"]))
def test_the_prediction_is_what_the_cut_network_costs(data, name, measure):
    widths = {group.name: data.draw(st.integers(1, group.units)) for group in FOUND[name].groups}
    costs = Costs(MODELS[name], FOUND[name], measure)
    counted = getattr(cost, measure)(cut(name, widths))
    assert costs.of(widths) == pytest.approx(counted, abs=0.5)


@pytest.mark.parametrize("measure", ["macs", "parameters"])
def test_one_change_at_a_time(measure):
    costs = Costs(MODELS["chain"], FOUND["chain"], measure)
    now = {"stem.0": 12, "hidden": 20}
    for group, row in zip(costs.groups, costs.alone(now, [[1, 4, 9]] * len(costs.groups)), strict=True):
        assert row.tolist() == pytest.approx([costs.of({**now, group.name: units}) for units in (1, 4, 9)])
