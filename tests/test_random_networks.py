"""Random networks: what a step makes of one, and what a target writes of that, is right, or refused with a reason."""

import warnings
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from paring.testing.random_networks import Plan, plans, trials
from paring.testing.random_networks.trial import FLOAT, OTHERS, RUN_HERE, STATIC, Chain

SETTINGS: dict[str, Any] = {
    "derandomize": True, "database": None, "deadline": None, "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}  # fmt: skip
FAULTS = {"wrong", "crash"}


def _faults(plan: Plan, *targets: str, chains: Sequence[Chain] = (FLOAT, STATIC)) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of converters are theirs
        return [f"{one}\n{plan}" for one in trials(plan, targets, chains) if one.verdict in FAULTS]


@settings(max_examples=40, **SETTINGS)
@given(plans())
def test_a_step_and_saving_keep_the_answers(plan: Plan) -> None:
    assert not _faults(plan)


@pytest.mark.parametrize("chain", OTHERS, ids=lambda one: one.name)
@settings(max_examples=15, **SETTINGS)
@given(plan=plans())
def test_other_steps_are_right_or_refuse(chain: Chain, plan: Plan) -> None:
    assert not _faults(plan, chains=[chain])


@pytest.mark.parametrize("target", RUN_HERE)
@settings(max_examples=5, **SETTINGS)
@given(plan=plans())
def test_a_file_answers_as_its_graph_does(target: str, plan: Plan) -> None:
    assert not _faults(plan, target)


@pytest.mark.slow
@pytest.mark.parametrize("target", RUN_HERE)
@settings(max_examples=200, **SETTINGS)
@given(plan=plans())
def test_many_files_answer_as_their_graphs_do(target: str, plan: Plan) -> None:
    assert not _faults(plan, target)
