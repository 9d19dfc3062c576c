"""`factorize.cp`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from paring import load
from paring.core.errors import ParingError
from paring.core.step import Context
from paring.core.target import Limits
from paring.measure import cost
from paring.steps import STEPS, keep_invariants
from paring.steps.factorize.cp import CpConfig, FactorizeCp
from paring.steps.factorize.low_rank import cp
from paring.steps.shapes import RANK, SHAPE
from paring.testing.models import TinyTask
from paring.testing.steps import StepContract

FLOAT = frozenset({"float32", "int8"})


def options(**given) -> CpConfig:
    return CpConfig(**{"round_to": 4, "samples": 32, **given})


@pytest.fixture
def wide():
    return load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


@pytest.fixture
def context(wide, tmp_path: Path) -> Context:
    return Context(TinyTask(), Limits(FLOAT, FLOAT), 0, wide, tmp_path / "work")


class TestContract(StepContract):
    @pytest.fixture
    def step(self):
        return FactorizeCp()

    @pytest.fixture
    def model(self, wide):
        return wide

    @pytest.fixture
    def config(self):
        return options(ratio=0.3, only=("blocks.0",))


def test_the_budget_is_kept(wide, context):
    found = FactorizeCp().apply(wide, options(macs=0.7, round_to=12, only=("blocks.*",)), context)
    assert 0.5 < cost.macs(found) / cost.macs(wide) <= 0.7


def test_energy_is_what_the_fit_keeps(wide, context):
    found = FactorizeCp().apply(wide, options(energy=0.5, only=("blocks.1",), data_aware=False), context)
    rank = found.module.blocks[1][0][0].out_channels
    layer = wide.module.blocks[1][0]
    kept = [cp.settled(layer.weight.detach().double().numpy(), one, 0)[1] for one in (rank - 4, rank)]
    assert 1 - kept[1] ** 2 >= 0.5 > 1 - kept[0] ** 2


def test_what_does_not_converge_is_left_and_named(wide, context, monkeypatch):
    monkeypatch.setattr(cp, "_SWEEPS", 3)
    with pytest.raises(ParingError, match="CP does not converge at rank 16: the error still fell after 3 sweeps"):
        FactorizeCp().apply(wide, options(rank=16, only=("blocks.1",)), context)


def test_a_rank_that_a_budget_would_choose_but_that_does_not_converge_is_passed_over(wide, context, monkeypatch):
    ours = options(macs=0.8, round_to=12, only=("blocks.1", "blocks.2"))
    whole = FactorizeCp().apply(wide, ours, context)
    rank = max(one.value["0.weight"][1] for one in whole.invariants if one.kind == RANK)
    settled = cp.settled

    def fails(tensor, at, seed):
        if at == rank:
            raise cp.NoFactors(f"CP does not converge at rank {at}: as the test wants")
        return settled(tensor, at, seed)

    monkeypatch.setattr(cp, "settled", fails)
    found = FactorizeCp().apply(wide, ours, context)
    assert cost.macs(found) <= 0.8 * cost.macs(wide)
    assert all(one.value["0.weight"][1] != rank for one in found.invariants if one.kind == RANK)


@pytest.mark.parametrize(
    ("later", "given"),
    [
        ("prune.channels", {"macs": 0.7, "round_to": 2, "samples": 16}),
        ("quantize.static", {"calibration": {"samples": 32}}),
    ],
)
def test_later_steps_keep_the_ranks(wide, context, later, given):
    made = FactorizeCp().apply(wide, options(rank=16, only=("blocks.*",)), context)
    step = STEPS.load(later)()
    found = step.apply(made, step.Config(**given), replace(context, directory=context.directory / "later"))
    keep_invariants(found)
    assert [one for one in found.invariants if one.kind == RANK] == [o for o in made.invariants if o.kind == RANK]


def test_factors_are_two_of_each_channel_alone_between_two_of_all(wide, context):
    found = FactorizeCp().apply(wide, options(rank=8, only=("down",)), context)
    kernels = [(one.kernel_size, one.stride, one.groups) for one in found.module.down]
    assert kernels == [((1, 1), (1, 1), 1), ((3, 1), (4, 1), 8), ((1, 3), (1, 4), 8), ((1, 1), (1, 1), 1)]
    assert found.module.down[3].bias is not None
    assert isinstance(found.module.shortcut, nn.Conv2d)


def test_the_exported_file_has_the_factors_and_the_answers(wide, context, tmp_path):
    from paring.targets.litert import LiteRT

    found = FactorizeCp().apply(wide, options(rank=16, only=("blocks.*",)), context)
    file = LiteRT().export(found, tmp_path / "model.tflite")
    shapes = {tuple(sorted(tensor.shape)) for tensor in LiteRT().describe(file).tensors}
    for one in found.invariants:
        if one.kind == SHAPE:
            assert tuple(sorted(one.value)) in shapes, one.layer
    images = next(iter(TinyTask().batches("test", 8))).inputs
    got = LiteRT().open(file).run({name: tensor.numpy() for name, tensor in images.items()})["output"]
    torch.testing.assert_close(torch.from_numpy(got), found(images)["output"], rtol=1e-4, atol=1e-4)
