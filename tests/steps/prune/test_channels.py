"""`prune.channels`: budgets, what is kept, what is refused, what later steps keep."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from paring import load
from paring.core.errors import ParingError, UnknownName
from paring.core.step import Context, Deployed
from paring.core.target import Limits
from paring.load import saved
from paring.measure import cost
from paring.steps import STEPS, keep_invariants
from paring.steps.prune.channels import ChannelsConfig, PruneChannels
from paring.steps.prune.structure.cut import Cut
from paring.steps.shapes import SHAPE
from paring.testing.models import TinyTask, quantized, tiny
from paring.testing.steps import StepContract
from paring.train.config import RecoverConfig

EVERY = frozenset({"float32", "int8"})
SHORT = RecoverConfig(steps=3, batch_size=16, learning_rate=0.001)


def options(**given) -> ChannelsConfig:
    return ChannelsConfig(**{"round_to": 2, "samples": 32, **given})


@pytest.fixture
def wide():
    """A chain of residual blocks, a flattened end: four groups or more."""
    return load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


@pytest.fixture
def context(wide, tmp_path: Path) -> Context:
    stored = frozenset({("int8", "linear", 0), ("int8", "conv", 0)})
    return Context(TinyTask(), Limits(EVERY, EVERY, dynamic=stored), 0, wide, tmp_path / "work")


class TestContract(StepContract):
    @pytest.fixture
    def step(self):
        return PruneChannels()

    @pytest.fixture
    def config(self):
        return options(macs=0.5)


class TestContractWithRecovery(StepContract):
    @pytest.fixture
    def step(self):
        return PruneChannels()

    @pytest.fixture
    def config(self):
        return options(parameters=0.6, rounds=2, importance="taylor", recover=SHORT)


@pytest.mark.parametrize("widths", ["sensitivity", "global", "uniform"])
@pytest.mark.parametrize(("budget", "counted"), [("macs", cost.macs), ("parameters", cost.parameters)])
def test_the_budget_is_kept_and_nearly_used(wide, context, widths, budget, counted):
    found = PruneChannels().apply(wide, options(**{budget: 0.5}, widths=widths, round_to=1), context)
    share = counted(found) / counted(wide)
    assert 0.4 < share <= 0.5
    assert f"({100 * share:.1f} %)" in found.history[-1].changed


@pytest.mark.parametrize("importance", ["elimination", "l1", "l2", "bn_scale", "taylor", "fpgm", "lamp", "random"])
def test_every_importance_meets_the_budget(context, importance):
    model = tiny()
    found = PruneChannels().apply(model, options(macs=0.5, importance=importance), replace(context, original=model))
    assert cost.macs(found) <= 0.5 * cost.macs(model)


def test_widths_are_multiples_or_whole(wide, context):
    found = PruneChannels().apply(wide, options(macs=0.6, round_to=4, floor=0.3), context)
    for name, whole in wide.module.state_dict().items():
        if whole.ndim > 1:
            width = found.module.state_dict()[name].shape[0]
            assert width == whole.shape[0] or (width % 4 == 0 and width >= 0.3 * whole.shape[0])


def test_layers_no_wider_than_a_multiple_keep_their_width(wide, context):
    found = PruneChannels().apply(wide, options(macs=0.99, round_to=16), context)
    assert found.module.stem[0].out_channels == 16
    assert any("too few for round_to: 16" in one.reason for one in found.history[-1].skipped)


def test_a_pattern_keeps_its_layers(wide, context):
    kept = PruneChannels().apply(wide, options(parameters=0.9, keep=("hidden", "stem")), context)
    assert (kept.module.hidden.out_features, kept.module.stem[0].out_channels) == (32, 16)
    only = PruneChannels().apply(wide, options(parameters=0.9, only=("@linear",)), context)
    assert only.module.hidden.out_features < 32
    assert only.module.down.out_channels == 24


def test_the_classifier_keeps_its_classes(wide, context):
    found = PruneChannels().apply(wide, options(macs=0.3), context)
    assert found.module.classifier.out_features == 10
    assert ("classifier", "its channels are the network's answers") in {
        (one.layer, one.reason) for one in found.history[-1].skipped
    }


def test_what_the_network_does_is_kept_better_than_by_chance(wide, context):
    inputs = next(iter(TinyTask().batches("test", 48))).inputs
    wanted = wide(inputs)["output"]

    def error(**given) -> float:
        found = PruneChannels().apply(wide, options(macs=0.6, reestimate=False, **given), context)
        return float((found(inputs)["output"] - wanted).square().mean())

    careful, blind = error(), error(importance="random", widths="uniform", compensate=False)
    assert careful < 0.5 * blind


def test_rounds_recover_each_time_and_end_at_the_budget(wide, context):
    found = PruneChannels().apply(wide, options(macs=0.5, rounds=2, recover=SHORT), context)
    assert cost.macs(found) <= 0.5 * cost.macs(wide)
    assert sorted(path.name for path in context.directory.iterdir()) == ["round-1", "round-2"]
    assert found.history[-1].changed.count("3 steps") == 2


def deployed_by_count(model):
    """As a target of which time goes with the work, on top of a fixed share, and size with the parameters."""
    return Deployed(1.0 + cost.macs(model) / 1e5, 1000 + 4 * cost.parameters(model))


@pytest.mark.parametrize(
    ("budget", "taken"),
    [
        ({"latency": "0.6x"}, lambda one, before: one.latency_ms / (0.6 * before.latency_ms)),
        ({"latency": "2 ms"}, lambda one, before: one.latency_ms / 2.0),
        ({"size": "12 KiB"}, lambda one, before: one.size_bytes / (12 * 1024)),
    ],
)
def test_a_measured_budget_is_kept_and_nearly_used(wide, context, budget, taken):
    context = replace(context, deployed=deployed_by_count)
    found = PruneChannels().apply(wide, options(**budget, round_to=1), context)
    assert 0.85 < taken(deployed_by_count(found), deployed_by_count(wide)) <= 1.0


def test_a_measured_budget_needs_a_target(wide, context):
    with pytest.raises(ParingError, match="measured on a target, and there is none"):
        PruneChannels().apply(wide, options(latency="0.6x"), context)


@pytest.mark.parametrize("budget", [{"latency": "0.1x"}, {"size": "1 KiB"}])
def test_a_measured_budget_out_of_reach_is_told_with_the_best(wide, context, budget):
    with pytest.raises(ParingError, match=r"allows? comes to .*, the budget is .* times as much"):
        PruneChannels().apply(wide, options(**budget), replace(context, deployed=deployed_by_count))


def test_a_budget_that_holds_already_is_refused(wide, context):
    with pytest.raises(ParingError, match="already"):
        PruneChannels().apply(wide, options(size="9 MiB"), replace(context, deployed=deployed_by_count))


def test_a_budget_out_of_reach_is_told_with_the_best(wide, context):
    with pytest.raises(ParingError, match=r"comes to \d+\.\d % of the macs, the budget is 5\.0 %: \d\.\d\d times"):
        PruneChannels().apply(wide, options(macs=0.05, floor=0.5), context)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"macs": 0.5, "parameters": 0.5},
        {"macs": 0.0},
        {"macs": 1.5},
        {"latency": "fast"},
        {"latency": "1.2x"},
        {"size": "3 ms"},
        {"macs": 0.5, "floor": 0.0},
        {"macs": 0.5, "round_to": 0},
        {"macs": 0.5, "rounds": 0},
    ],
)
def test_options_that_make_no_sense_are_refused(given):
    with pytest.raises(ValidationError):
        ChannelsConfig(**given)


def test_the_message_names_both_budgets():
    with pytest.raises(ValidationError, match="macs and size"):
        ChannelsConfig(macs=0.5, size="3 KiB")


@pytest.mark.parametrize("option", ["only", "keep"])
def test_a_pattern_without_a_match_is_refused(wide, context, option):
    with pytest.raises(UnknownName, match="hiden"):
        PruneChannels().apply(wide, options(macs=0.5, **{option: ("hiden",)}), context)


def test_nothing_left_to_cut_is_refused(wide, context):
    with pytest.raises(ParingError, match="no channels can be cut"):
        PruneChannels().apply(wide, options(macs=0.5, round_to=64), context)


def test_a_quantized_model_is_refused(context):
    with pytest.raises(ParingError, match="place prune"):
        PruneChannels().apply(quantized(), options(macs=0.5), context)
    with pytest.raises(ParingError, match="quantized"):
        PruneChannels().acts_on(quantized())


def test_which_layers_it_acts_on_is_told(wide):
    found = PruneChannels().acts_on(wide)
    assert found["hidden"] is None
    assert found["classifier"] == "its channels are the network's answers"


@pytest.mark.parametrize(
    ("later", "given"),
    [
        ("finetune", {"steps": 3, "batch_size": 16}),
        ("quantize.static", {"calibration": {"samples": 32}}),
        ("quantize.qat", {"steps": 3, "batch_size": 16, "calibration": {"samples": 32}}),
        ("quantize.dynamic", {}),
    ],
)
def test_later_steps_keep_the_shapes(wide, context, later, given):
    pruned = PruneChannels().apply(wide, options(macs=0.5), context)
    shapes = [one for one in pruned.invariants if one.kind == SHAPE]
    assert shapes
    step = STEPS.load(later)()
    found = step.apply(pruned, step.Config(**given), replace(context, directory=context.directory / "later"))
    keep_invariants(found)
    assert [one for one in found.invariants if one.kind == SHAPE] == shapes


def test_the_exported_file_has_the_shapes_and_the_answers(wide, context, tmp_path):
    from paring.targets.litert import LiteRT

    found = PruneChannels().apply(wide, options(macs=0.4), context)
    file = LiteRT().export(found, tmp_path / "model.tflite")
    shapes = {tuple(sorted(tensor.shape)) for tensor in LiteRT().describe(file).tensors}  # in an order of its own
    for name, tensor in found.module.named_parameters():
        if tensor.ndim > 1:
            assert tuple(sorted(tensor.shape)) in shapes, name
    images = next(iter(TinyTask().batches("test", 8))).inputs
    got = LiteRT().open(file).run({name: tensor.numpy() for name, tensor in images.items()})["output"]
    torch.testing.assert_close(torch.from_numpy(got), found(images)["output"], rtol=1e-4, atol=1e-4)


def test_a_second_cut_of_a_saved_one_replays(wide, context, tmp_path):
    once = PruneChannels().apply(wide, options(macs=0.6), context)
    again = saved.load(saved.save(once, tmp_path / "once.safetensors"))
    twice = PruneChannels().apply(again, options(macs=0.6), context)
    inputs = next(iter(TinyTask().batches("test", 4))).inputs
    loaded = saved.load(saved.save(twice, tmp_path / "twice.safetensors"))
    assert torch.equal(loaded(inputs)["output"], twice(inputs)["output"])
    keep_invariants(loaded)


@pytest.mark.slow
def test_a_recipe_measures_the_file_of_its_target(tmp_path):
    import paring

    recipe = {
        "version": 1,
        "model": "torch:paring.testing.structures:chain",
        "data": "python:paring.testing.models:TinyTask",
        "targets": ["litert"],
        "steps": [{"prune.channels": {"size": "40 KiB", "round_to": 1, "samples": 16}}],
    }
    found = paring.compress(recipe, out=tmp_path / "run")
    size = found.artifacts["litert"].stat().st_size
    assert 0.9 * 40 * 1024 < size <= 40 * 1024


def test_with_a_readout_a_cut_counts_for_what_the_last_layer_cannot_make_good(wide, context):
    def curves(readout):
        return Cut(wide, options(macs=0.5, samples=64, readout=readout), context, "here").curves

    plain, fitted = curves(False), curves(True)
    assert all((fitted[name] <= plain[name] + 1e-9).all() for name in plain)
    assert fitted["stem.0"][0] < 0.6 * plain["stem.0"][0]
