"""`factorize.tucker`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from paring import load
from paring.core.errors import MissingExtra, ParingError
from paring.core.step import Context
from paring.core.target import Limits
from paring.measure import cost
from paring.steps import STEPS, keep_invariants
from paring.steps.factorize.tucker import FactorizeTucker, TuckerConfig
from paring.steps.shapes import RANK, SHAPE
from paring.testing.models import TinyTask
from paring.testing.steps import StepContract

FLOAT = frozenset({"float32", "int8"})


def options(**given) -> TuckerConfig:
    return TuckerConfig(**{"round_to": 2, "samples": 32, **given})


@pytest.fixture
def wide():
    return load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


@pytest.fixture
def context(wide, tmp_path: Path) -> Context:
    return Context(TinyTask(), Limits(FLOAT, FLOAT), 0, wide, tmp_path / "work")


class TestContract(StepContract):
    @pytest.fixture
    def step(self):
        return FactorizeTucker()

    @pytest.fixture
    def model(self, wide):
        return wide

    @pytest.fixture
    def config(self):
        return options(macs=0.7)


def test_ranks_of_both_sides(wide, context):
    found = FactorizeTucker().apply(wide, options(rank=(6, 10)), context)
    assert next(one.value for one in found.invariants if one.kind == RANK and one.layer == "down") == {
        "0.weight": [0, 6],
        "1.weight": [0, 10],
    }
    assert found.module.down[1].stride == (4, 4)
    told = {one.layer: one.reason for one in found.history[-1].skipped}
    assert told["stem.0"] == "rank 6×10 is over the 1×9 that it can have"
    assert told["shortcut"] == "its kernel is a single place: factorize.svd does for it"
    assert told["hidden"] == "it has no kernel to take apart: factorize.svd does for it"
    with pytest.raises(ValidationError):
        options(rank=(6, 10, 3))


def test_the_budget_is_kept(wide, context):
    found = FactorizeTucker().apply(wide, options(macs=0.5), context)
    assert 0.4 < cost.macs(found) / cost.macs(wide) <= 0.5


def test_variational_bayes_finds_both_ranks(wide, context):
    with torch.no_grad():
        core = torch.einsum("oa,abhw,ib->oihw", torch.randn(16, 5), torch.randn(5, 3, 3, 3), torch.randn(16, 3))
        wide.module.blocks[1][0].weight.copy_(core + 0.01 * torch.randn(16, 16, 3, 3))
    found = FactorizeTucker().apply(wide, options(vbmf=True, round_to=1), context)
    (rank,) = (one for one in found.invariants if one.kind == RANK)
    assert rank.value == {"0.weight": [0, 3], "1.weight": [0, 5]}


@pytest.mark.parametrize(
    ("later", "given"),
    [
        ("prune.channels", {"macs": 0.7, "round_to": 2, "samples": 16}),
        ("quantize.static", {"calibration": {"samples": 32}}),
    ],
)
def test_later_steps_keep_the_ranks(wide, context, later, given):
    made = FactorizeTucker().apply(wide, options(energy=0.6), context)
    step = STEPS.load(later)()
    found = step.apply(made, step.Config(**given), replace(context, directory=context.directory / "later"))
    keep_invariants(found)
    assert [one for one in found.invariants if one.kind == RANK] == [o for o in made.invariants if o.kind == RANK]


def test_a_network_without_kernels_is_refused(context):
    model = load.open("torch:paring.testing.networks:transformer_network", shape=(1, 8, 8))
    with pytest.raises(ParingError, match=r"no layer is worth taking apart .* no kernel"):
        FactorizeTucker().apply(model, options(energy=0.6), context)


def test_without_tensorly_the_extra_is_named(wide, context, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorly.decomposition", None)
    with pytest.raises(MissingExtra, match=r"paring\[factorize\]"):
        FactorizeTucker().apply(wide, options(energy=0.6), context)


def test_the_exported_file_has_the_factors_and_the_answers(wide, context, tmp_path):
    from paring.targets.litert import LiteRT

    found = FactorizeTucker().apply(wide, options(energy=0.6), context)
    file = LiteRT().export(found, tmp_path / "model.tflite")
    shapes = {tuple(sorted(tensor.shape)) for tensor in LiteRT().describe(file).tensors}
    for one in found.invariants:
        if one.kind == SHAPE:
            assert tuple(sorted(one.value)) in shapes, one.layer
    images = next(iter(TinyTask().batches("test", 8))).inputs
    got = LiteRT().open(file).run({name: tensor.numpy() for name, tensor in images.items()})["output"]
    torch.testing.assert_close(torch.from_numpy(got), found(images)["output"], rtol=1e-4, atol=1e-4)
