"""Sparse learning before a cut: what will go fades out, and nothing else is touched."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring import load
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Limits
from paring.steps.prune.channels import ChannelsConfig, GrowingConfig, PruneChannels
from paring.steps.prune.structure.carve import carved
from paring.steps.prune.structure.cut import Cut
from paring.steps.prune.structure.growing import Fading, cut_away
from paring.testing.models import TinyTask, tiny
from paring.train.evaluate import evaluate

EVERY = frozenset({"float32"})


def layers() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 3, 1))


KEPT = {("0", "out"): [0, 2], ("1", "out"): [0, 2], ("2", "out"): [0, 2], ("2", "in"): [0, 2], ("3", "in"): [0, 2]}


def test_what_is_cut_away_is_what_carving_leaves_out():
    module = layers()
    gone, smaller = cut_away(module, KEPT, {}), dict(carved(module, KEPT).named_parameters())
    assert set(gone) == {"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.weight"}
    for name, parameter in module.named_parameters():
        stays = parameter.detach()[gone[name] == 0] if name in gone else parameter.detach().flatten()
        assert torch.equal(stays, smaller[name].detach().flatten())


@given(strength=st.floats(0.01, 1.0), steps=st.integers(1, 6), begun=st.integers(0, 5))
def test_the_share_grows_in_equal_parts_and_a_process_that_goes_on_repeats_none(strength, steps, begun):
    begun = min(begun, steps)
    module = nn.Linear(2, 3)
    before = module.weight.detach().clone()
    fading = Fading(module, {("", "out"): [1]}, {}, strength, steps)
    wanted = 1.0
    for done in range(begun, steps + 1):
        fading(module, done)
        wanted *= 1 - strength * done / steps if done > begun else 1.0
    assert torch.equal(module.weight[1], before[1])
    assert torch.allclose(module.weight[[0, 2]], wanted * before[[0, 2]], atol=1e-6)


@pytest.fixture
def wide() -> Model:
    return load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


@pytest.fixture
def context(wide: Model, tmp_path: Path) -> Context:
    return Context(TinyTask(), Limits(EVERY, EVERY), 0, wide, tmp_path / "work")


def test_a_cut_of_what_has_faded_changes_no_answer(wide, context):
    config = ChannelsConfig(macs=0.5, round_to=2, samples=32, compensate=False, reestimate=False, importance="l2")
    cut = Cut(wide, config, context, "here")
    widths = {name: allowed[len(allowed) // 2] for name, allowed in cut.allowed.items()}
    whole = evaluate(wide, context.task, "validation").loss
    assert abs(evaluate(cut.model(widths), context.task, "validation").loss - whole) > 1e-4
    told = cut.fade(widths, GrowingConfig(steps=4, batch_size=16, strength=1.0), context.directory / "fade")
    assert told.startswith("4 steps")
    faded = evaluate(cut.uncut, context.task, "validation").loss
    assert evaluate(cut.model(widths), context.task, "validation").loss == pytest.approx(faded, rel=1e-5)


def test_it_comes_before_the_cut_and_the_recovery_after(context):
    model = tiny()
    config = ChannelsConfig(
        macs=0.5, round_to=2, samples=32, sparse_learning={"steps": 3, "batch_size": 16},
        recover={"steps": 2, "batch_size": 16},
    )  # fmt: skip
    found = PruneChannels().apply(model, config, replace(context, original=model))
    told = found.history[-1].changed
    assert told.index("before the cut 3 steps") < told.index("2 steps")
    again = PruneChannels().apply(model, config, replace(context, original=model, directory=context.directory / "2"))
    state = again.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.module.state_dict().items())
