"""`factorize.svd`: rules, budgets, what is left as it is, what later steps keep."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from paring import load
from paring.core.errors import ParingError, UnknownName
from paring.core.step import Context, Deployed
from paring.core.target import Limits
from paring.load import saved
from paring.measure import cost
from paring.steps import STEPS, keep_invariants
from paring.steps.factorize.svd import FactorizeSvd, SvdConfig
from paring.steps.shapes import RANK, SHAPE
from paring.testing.models import TinyTask, quantized
from paring.testing.steps import StepContract
from paring.train.config import RecoverConfig

EVERY = frozenset({"float32", "int8"})
SHORT = RecoverConfig(steps=3, batch_size=16, learning_rate=0.001)


def options(**given) -> SvdConfig:
    return SvdConfig(**{"round_to": 2, "samples": 32, **given})


@pytest.fixture
def wide():
    """A chain of residual blocks; linear layers, one flattened image among what they read."""
    return load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


@pytest.fixture
def context(wide, tmp_path: Path) -> Context:
    stored = frozenset({("int8", "linear", 0), ("int8", "conv", 0)})
    return Context(TinyTask(), Limits(EVERY, EVERY, dynamic=stored), 0, wide, tmp_path / "work")


class Contract(StepContract):
    @pytest.fixture
    def step(self):
        return FactorizeSvd()

    @pytest.fixture
    def model(self, wide):
        return wide


class TestContractByEnergy(Contract):
    @pytest.fixture
    def config(self):
        return options(energy=0.7)


class TestContractWithBudgetAndRecovery(Contract):
    @pytest.fixture
    def config(self):
        return options(macs=0.6, recover=SHORT)


@pytest.mark.parametrize("budget", ["macs", "parameters"])
def test_the_budget_is_kept_and_nearly_used(wide, context, budget):
    found = FactorizeSvd().apply(wide, options(**{budget: 0.5}), context)
    share = getattr(cost, budget)(found) / getattr(cost, budget)(wide)
    assert 0.45 < share <= 0.5
    assert f"({100 * share:.1f} %)" in found.history[-1].changed


def test_a_budget_out_of_reach_is_told_with_the_best(wide, context):
    with pytest.raises(ParingError, match=r"lowest ranks come to \d+\.\d % of the macs, .* times as much"):
        FactorizeSvd().apply(wide, options(macs=0.02), context)


def test_a_fixed_rank_is_taken_as_it_is_and_where_it_cannot_be_told(wide, context):
    found = FactorizeSvd().apply(wide, options(rank=11, round_to=8), context)
    told = {one.layer: one.reason for one in found.history[-1].skipped}
    assert found.module.hidden[0].out_features == 11
    assert found.module.blocks[0][0][0].out_channels == 11
    assert told["classifier"] == "rank 11 is over the 10 that it can have"
    assert told["stem.0"] == "rank 11 is over the 3 that it can have"


def test_a_rank_over_all_that_is_possible_is_refused(wide, context):
    with pytest.raises(ParingError, match=r"no layer is worth .* rank 999 is over the"):
        FactorizeSvd().apply(wide, options(rank=999), context)


def test_a_layer_whose_factors_would_cost_more_is_left_and_named(wide, context):
    found = FactorizeSvd().apply(wide, options(rank=9, only=("hidden", "classifier")), context)
    told = {one.layer: one.reason for one in found.history[-1].skipped}
    assert told == {"classifier": "its factors of rank 9 would cost more"}
    assert isinstance(found.module.classifier, nn.Linear)


def test_a_ratio_bounds_each_layer(wide, context):
    found = FactorizeSvd().apply(wide, options(ratio=0.5), context)
    for name, whole in wide.module.named_modules():
        part = dict(found.module.named_modules()).get(name)
        if isinstance(part, nn.Sequential) and not isinstance(whole, nn.Sequential):
            count = sum(one.numel() for one in part.parameters())
            assert count <= 0.5 * sum(one.numel() for one in whole.parameters())
            assert part[0].weight.shape[0] % 2 == 0


def test_variational_bayes_sees_through_noise(wide, context):
    with torch.no_grad():
        low = torch.randn(32, 4) @ torch.randn(4, 96)
        wide.module.hidden.weight.copy_(low + 0.05 * torch.randn(32, 96))
    found = FactorizeSvd().apply(wide, options(vbmf=True, round_to=1), context)
    assert found.module.hidden[0].out_features == 4
    told = {one.layer: one.reason for one in found.history[-1].skipped}
    assert told["blocks.1.0"] == "variational Bayes finds but noise in it"


def test_answers_stay_closer_with_data(wide, context):
    inputs = next(iter(TinyTask().batches("calibration", 48))).inputs
    wanted = wide(inputs)["output"]

    def error(aware: bool) -> float:
        config = options(ratio=0.4, only=("hidden",), data_aware=aware, samples=64, reestimate=False)
        return float((FactorizeSvd().apply(wide, config, context)(inputs)["output"] - wanted).square().mean())

    assert error(True) < 0.3 * error(False)


def by_count(model) -> Deployed:
    """As a target of which time goes with the work, on top of a share for each layer."""
    layers = sum(isinstance(part, nn.Linear | nn.Conv2d) for part in model.module.modules())
    return Deployed(0.1 + 0.01 * layers + cost.macs(model) / 1e6, 1000)


@pytest.mark.parametrize("latency", ["0.7x", "0.5 ms"])
def test_a_measured_budget_is_kept_and_nearly_used(wide, context, latency):
    context = replace(context, deployed=by_count)
    found = FactorizeSvd().apply(wide, options(latency=latency, slower="allow"), context)
    limit = 0.7 * by_count(wide).latency_ms if latency.endswith("x") else 0.5
    assert 0.9 * limit < by_count(found).latency_ms <= limit


def test_a_measured_budget_needs_a_target(wide, context):
    with pytest.raises(ParingError, match="measured on a target, and there is none"):
        FactorizeSvd().apply(wide, options(latency="0.6x"), context)


@pytest.mark.parametrize("rule", [{"ratio": 0.6}, {"parameters": 0.45}])
def test_a_layer_that_would_run_slower_is_left_and_named(wide, context, rule):
    context = replace(context, deployed=by_count)
    found = FactorizeSvd().apply(wide, options(**rule), context)
    told = {one.layer: one.reason for one in found.history[-1].skipped}
    assert isinstance(found.module.hidden, nn.Linear)  # little work, as it runs at one place
    assert isinstance(found.module.blocks[0][0], nn.Sequential)
    assert "run slower on the target: 0.1" in told["hidden"]
    allowed = FactorizeSvd().apply(wide, options(**rule, slower="allow"), context)
    assert isinstance(allowed.module.hidden, nn.Sequential)


@pytest.mark.parametrize("option", ["only", "keep"])
def test_a_pattern_without_a_match_is_refused(wide, context, option):
    with pytest.raises(UnknownName, match="hiden"):
        FactorizeSvd().apply(wide, options(ratio=0.5, **{option: ("hiden",)}), context)


def test_patterns_choose_by_name_and_kind(wide, context):
    found = FactorizeSvd().apply(wide, options(rank=4, only=("@linear", "down"), keep=("@last",)), context)
    assert {one.layer for one in found.invariants if one.kind == RANK} == {"hidden", "down"}


@pytest.mark.parametrize(
    "given",
    [{}, {"energy": 0.9, "rank": 4}, {"energy": 1.5}, {"rank": 0}, {"ratio": 1.0}, {"latency": "fast"}, {"macs": 0},
     {"energy": 0.9, "round_to": 0}, {"rank": [4, 4]}, {"vbmf": False}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(given):
    with pytest.raises(ValidationError):
        SvdConfig(**given)


def test_a_quantized_model_is_refused(context):
    with pytest.raises(ParingError, match="before quantization"):
        FactorizeSvd().apply(quantized(), options(rank=4), context)
    with pytest.raises(ParingError, match="quantized"):
        FactorizeSvd().acts_on(quantized())


@pytest.mark.parametrize(
    ("later", "given"),
    [
        ("finetune", {"steps": 3, "batch_size": 16}),
        ("prune.channels", {"macs": 0.6, "round_to": 2, "samples": 16}),
        ("prune.magnitude", {"sparsity": 0.5}),
        ("quantize.static", {"calibration": {"samples": 32}}),
        ("quantize.qat", {"steps": 3, "batch_size": 16, "calibration": {"samples": 32}}),
        ("quantize.dynamic", {}),
    ],
)
def test_later_steps_keep_the_ranks(wide, context, tmp_path, later, given):
    made = FactorizeSvd().apply(wide, options(ratio=0.5), context)
    ranks = [one for one in made.invariants if one.kind == RANK]
    step = STEPS.load(later)()
    found = step.apply(made, step.Config(**given), replace(context, directory=context.directory / "later"))
    keep_invariants(found)
    assert [one for one in found.invariants if one.kind == RANK] == ranks
    again = saved.load(saved.save(found, tmp_path / "later.safetensors"))
    inputs = next(iter(TinyTask().batches("test", 4))).inputs
    assert torch.equal(again(inputs)["output"], found(inputs)["output"])


def test_what_is_said_of_a_block_goes_with_it(context, tmp_path):
    model = load.open("zoo:resnet20(classes=10)", shape=(1, 8, 8))
    made = FactorizeSvd().apply(model, options(rank=8, data_aware=False), context)
    step = STEPS.load("prune.blocks")()
    found = step.apply(made, step.Config(count=1, importance="random", samples=16), context)
    keep_invariants(found)
    gone = {one.layer for one in made.invariants} - {one.layer for one in found.invariants}
    assert {name.split(".body.")[0] for name in gone} == {next(iter(gone)).split(".body.")[0]}
    again = saved.load(saved.save(found, tmp_path / "shorter.safetensors"))
    inputs = next(iter(TinyTask().batches("test", 4))).inputs
    assert torch.equal(again(inputs)["output"], found(inputs)["output"])


def test_after_channels_were_cut(wide, context, tmp_path):
    step = STEPS.load("prune.channels")()
    cut = step.apply(wide, step.Config(macs=0.6, round_to=2, samples=16), context)
    found = FactorizeSvd().apply(cut, options(ratio=0.7), context)
    keep_invariants(found)
    for one in found.invariants:  # what is said of the layers' own weights is gone with them
        assert one.kind != SHAPE or one.layer in found.module.state_dict()
    again = saved.load(saved.save(found, tmp_path / "model.safetensors"))
    inputs = next(iter(TinyTask().batches("test", 4))).inputs
    assert torch.equal(again(inputs)["output"], found(inputs)["output"])


def test_a_second_time_factors_are_left(wide, context):
    once = FactorizeSvd().apply(wide, options(rank=8, only=("hidden",)), context)
    acts = FactorizeSvd().acts_on(once)
    assert acts["hidden.0"] == acts["hidden.1"] == "it is a factor already"
    twice = FactorizeSvd().apply(once, options(rank=8, only=("blocks.*",)), context)
    assert len([one for one in twice.invariants if one.kind == RANK]) == 4
    keep_invariants(twice)


def test_heads_of_a_transformer_are_told_that_factors_stand_there(context):
    from paring.steps.prune.heads import PruneHeads

    model = load.open("torch:paring.testing.networks:transformer_network", shape=(1, 8, 8))
    assert "the code around it" in str(FactorizeSvd().acts_on(model)["layers.0.self_attn.out_proj"])
    assert "the code around it" in str(FactorizeSvd().acts_on(model)["layers.0.linear1"])
    assert PruneHeads().acts_on(model)


def test_the_exported_file_has_the_factors_and_the_answers(wide, context, tmp_path):
    from paring.targets.litert import LiteRT

    found = FactorizeSvd().apply(wide, options(ratio=0.4), context)
    file = LiteRT().export(found, tmp_path / "model.tflite")
    shapes = {tuple(sorted(tensor.shape)) for tensor in LiteRT().describe(file).tensors}  # in an order of its own
    for one in found.invariants:
        if one.kind == SHAPE:
            assert tuple(sorted(one.value)) in shapes, one.layer
    images = next(iter(TinyTask().batches("test", 8))).inputs
    got = LiteRT().open(file).run({name: tensor.numpy() for name, tensor in images.items()})["output"]
    torch.testing.assert_close(torch.from_numpy(got), found(images)["output"], rtol=1e-4, atol=1e-4)
