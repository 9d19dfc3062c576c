"""`prune.nm`: n of each m consecutive weights along the input axis stay, the largest."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from paring.core.errors import ParingError
from paring.core.step import Context, Step, StepConfig
from paring.core.target import Limits
from paring.steps import keep_invariants
from paring.steps.prune.nm import NMConfig, PruneNM, in_groups
from paring.testing.models import TinyTask, tiny
from paring.testing.steps import StepContract


class TestPruneNM(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return PruneNM()

    @pytest.fixture
    def config(self) -> StepConfig:
        return NMConfig.model_validate({"recover": {"steps": 3, "batch_size": 16}})


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.data())
def test_in_every_group_exactly_n_of_m_stay_the_largest(
    n: int, more: int, groups: int, axis: int, data: st.DataObject
) -> None:
    m = n + more
    shape = (groups * m, 2, 3) if axis == 0 else (2, groups * m, 3)
    count = groups * m * 6
    sizes = torch.tensor(data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))).reshape(shape).float()
    mask = in_groups(sizes, n, m, axis)
    assert mask.shape == sizes.shape
    for values, kept in zip(sizes.movedim(axis, -1).reshape(-1, m), mask.movedim(axis, -1).reshape(-1, m), strict=True):
        assert int(kept.sum()) == n
        assert values[kept].min() >= values[~kept].max()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    every = frozenset({"float32"})
    return Context(TinyTask(), Limits(every, every), 0, tiny(), tmp_path)


def test_what_does_not_divide_is_left_with_the_reason(context: Context) -> None:
    result = PruneNM().apply(tiny(), NMConfig(), context)
    assert {one.layer: one.value for one in result.invariants} == {
        name: {"zeros": 0.5, "n": 2, "m": 4, "axis": 1} for name in ("body.3.weight", "classifier.weight")
    }
    reasons = {one.layer: one.reason for one in result.history[-1].skipped}
    assert reasons == dict.fromkeys(["stem.0", "body.0"], "its 1 inputs to each output are no multiple of 4")
    assert PruneNM().acts_on(tiny()) == {**reasons, "body.3": None, "classifier": None}
    groups = result.module.classifier.weight.reshape(10, 2, 4)
    assert ((groups != 0).sum(2) == 2).all()
    assert result.history[-1].changed == "2:4, 50.0 % of 144 weights in 2 layers are 0"


def test_a_second_step_keeps_what_the_first_won(context: Context) -> None:
    once = PruneNM().apply(tiny(), NMConfig(), context)
    twice = PruneNM().apply(once, NMConfig(n=1), context)
    keep_invariants(twice)
    assert int((twice.module.body[3].weight != 0).sum()) == 16


@pytest.mark.parametrize("options", [{"n": 5}, {"n": 4}, {"n": 0}, {"m": 2}])
def test_n_is_below_m(options: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=r"n below m|greater than or equal to 1"):
        NMConfig.model_validate(options)


def test_a_network_where_nothing_divides_is_refused(context: Context) -> None:
    with pytest.raises(ParingError, match=r"no layer is left to prune .*no multiple of 5"):
        PruneNM().apply(tiny(), NMConfig(m=5), context)
