"""`quantize.qat` keeps the contract of steps, learns, goes on after a kill, and stops where the loss is lost."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from paring.core.errors import ParingError
from paring.core.model import Invariant, Model
from paring.core.step import Context, Step, StepConfig
from paring.core.target import Limits
from paring.load import saved
from paring.steps.quantize import graph
from paring.steps.quantize.qat import QatConfig, QuantizeAware
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.testing.models import TinyTask, tiny
from paring.testing.steps import StepContract
from paring.train import loop
from paring.train.config import TrainConfig
from paring.train.evaluate import accuracy
from paring.train.loop import STATE, fit

CALIBRATION = Calibration(method="mse", samples=32)
SHORT = {"steps": 3, "batch_size": 32, "learning_rate": 0.02, "calibration": CALIBRATION}


def config(**options: object) -> QatConfig:
    return QatConfig.model_validate({**SHORT, **options})


class TestQuantizeAware(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return QuantizeAware()

    @pytest.fixture(params=["plain", "lsq"])
    def config(self, request: pytest.FixtureRequest) -> StepConfig:
        return config(method=request.param)


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The tiny network, trained until it knows most stripes."""
    options = TrainConfig(epochs=40, batch_size=16, learning_rate=0.05)
    fitted = fit(tiny(), TinyTask(), options, seed=0, directory=tmp_path_factory.mktemp("learner"))
    return replace(tiny(), module=fitted.module)


@pytest.fixture
def context(learner: Model, tmp_path: Path) -> Context:
    every = frozenset({"float32", "int8", "int4", "int16"})
    return Context(TinyTask(), Limits(every, every), 0, learner, tmp_path / "work")


def right(model: Model) -> int:
    return sum(accuracy(model, TinyTask(), split)[0] for split in ("validation", "test", "train"))


@pytest.mark.parametrize("method", ["plain", "lsq"])
def test_it_wins_back_what_four_bits_cost(learner: Model, context: Context, method: str) -> None:
    bits = {"weights": "int4", "activations": "int4"}
    extremes = Calibration(method="minmax", weights="minmax", samples=CALIBRATION.samples)
    static = QuantizeStatic().apply(learner, StaticConfig(calibration=extremes, **bits), context)
    options = config(method=method, steps=None, epochs=15, batch_size=16, **bits)
    aware = QuantizeAware().apply(learner, options, context)
    assert right(aware) > right(static) + 5
    assert right(aware) > right(learner) - 15
    assert f"4 layers to int4, 7 activation tensors, trained ({method}) 15 epochs, loss " in aware.history[-1].changed


def test_what_is_returned_answers_as_what_was_trained(
    learner: Model, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, trained = loop.fit, []

    def watched(*args: object, **options: object) -> object:
        trained.append(fits(*args, **options))
        return trained[-1]

    monkeypatch.setattr(loop, "fit", watched)
    result = QuantizeAware().apply(learner, config(), context)
    rounding = replace(learner, module=trained[0].module)
    assert right(result) == right(rounding)
    assert accuracy(result, TinyTask(), "validation")[0] == trained[0].history[-1].accuracy * 32
    assert f"→ {100 * trained[0].history[-1].accuracy:.1f} %" in result.history[-1].changed


def test_every_weight_is_stored_as_its_codes(learner: Model, context: Context) -> None:
    result = QuantizeAware().apply(learner, config(weights="int4"), context)
    for layer, scales in graph.weight_scales(result.module).items():
        codes = result.module.get_parameter(f"{layer}.weight").flatten(1) / torch.tensor(scales).reshape(-1, 1)
        torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-4)
        assert codes.abs().max() <= 7.001


@pytest.mark.parametrize(
    "options",
    [
        {"method": "lsq", "teacher": "original", "optimizer": "adamw", "learning_rate": 1e-3},
        {"method": "plain", "freeze_batch_norm": 0.5, "ema": 0.9},
    ],
)
def test_stopped_it_goes_on_to_the_same_bits(
    learner: Model, context: Context, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    long = config(**{"steps": 8, **options})
    whole = QuantizeAware().apply(learner, long, replace(context, directory=context.directory / "whole"))
    fits = loop.fit
    for stop in (2, 6):  # before batch norm is frozen, and after
        stopped = partial(fits, until=lambda step, stop=stop: step == stop)
        monkeypatch.setattr(loop, "fit", partial(_killed, stopped))
        with pytest.raises(KeyboardInterrupt):
            QuantizeAware().apply(learner, long, context)
    done: list[int] = []
    monkeypatch.setattr(loop, "fit", partial(fits, until=lambda step: bool(done.append(step))))
    again = QuantizeAware().apply(learner, long, context)
    assert done == [7, 8]
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(tensor, again.module.state_dict()[name]), name
    assert again.invariants == whole.invariants
    assert again.edits == whole.edits


def _killed(stopped, *args: object, **options: object) -> object:
    stopped(*args, **options)
    raise KeyboardInterrupt


def test_a_loss_that_is_lost_stops_it_and_the_last_good_state_stays(
    learner: Model, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, calls, fits = TinyTask.loss, [], loop.fit

    def spoiled(self: TinyTask, outputs: object, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        found = loss(self, outputs, targets, label_smoothing)
        calls.append(torch.is_grad_enabled())
        return found * float("nan") if sum(calls) == 5 else found

    sound = QuantizeAware().apply(learner, config(steps=6), replace(context, directory=context.directory / "sound"))
    monkeypatch.setattr(loop, "fit", lambda *args, **given: fits(*args, **given, checkpoint_every=0))
    monkeypatch.setattr(TinyTask, "loss", spoiled)
    with pytest.raises(ParingError) as caught:
        QuantizeAware().apply(learner, config(steps=6), context)
    assert "the loss is nan in epoch 2, step 2 of 3" in caught.value.problem
    assert f"the last good state is kept in {context.directory / STATE}" in caught.value.problem
    assert "learning_rate, which is 0.02" in caught.value.remedy
    monkeypatch.setattr(TinyTask, "loss", loss)  # mended: it goes on from there
    mended = QuantizeAware().apply(learner, config(steps=6), context)
    assert mended.invariants == sound.invariants


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_pruned_weights_stay_0_in_the_codes(learner: Model, context: Context, weights: str) -> None:
    saved_module = tiny().module
    saved_module.load_state_dict(learner.module.state_dict())
    for layer in ("stem.0", "body.3"):
        saved_module.get_submodule(layer).weight.data.flatten()[::2] = 0
    pruned = replace(learner, module=saved_module, invariants=(Invariant("sparsity", "body.3", 0.5),))
    result = QuantizeAware().apply(pruned, config(steps=6, weights=weights), context)
    assert (result.module.get_parameter("body.3.weight").flatten()[::2] == 0).all()
    assert (result.module.get_parameter("stem.0.weight").flatten()[::2] != 0).any()  # nobody asked


def test_frozen_at_once_batch_norm_keeps_its_statistics(learner: Model, context: Context) -> None:
    """One step so small that nothing learns: what is left is what batch norm did."""
    small = {"steps": 1, "learning_rate": 1e-9}
    frozen = QuantizeAware().apply(learner, config(freeze_batch_norm=0.0, **small), context)
    alive = QuantizeAware().apply(learner, config(freeze_batch_norm=1.0, **small), context)
    static = QuantizeStatic().apply(learner, StaticConfig(calibration=CALIBRATION), context)
    biases = [one.module.get_parameter("stem.0.weight_bias") for one in (frozen, alive, static)]
    torch.testing.assert_close(biases[0], biases[2], rtol=1e-4, atol=1e-5)
    assert (biases[1] - biases[2]).abs().max() > 1e-3


def test_layers_are_chosen_as_in_static_quantization(learner: Model, context: Context, tmp_path: Path) -> None:
    options = config(layers={"@depthwise": {"weights": "int8"}}, weights="int4", keep_float=["classifier"])
    result = QuantizeAware().apply(learner, options, context)
    assert "1 layers to int8 and 2 layers to int4" in result.history[-1].changed
    assert {one.layer for one in result.invariants} == {"stem.0", "body.0", "body.3"}
    used = {
        layer: int(
            (result.module.get_parameter(f"{layer}.weight").flatten(1) / torch.tensor(scales)[:, None]).abs().max()
        )
        for layer, scales in graph.weight_scales(result.module).items()
    }
    assert used["body.0"] > 7 >= used["stem.0"]
    again = saved.load(saved.save(result, tmp_path / "m.safetensors"))
    batch = next(iter(TinyTask().batches("test", 8)))
    assert torch.equal(again(batch.inputs)["output"], result(batch.inputs)["output"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"activations": "int4"}, "cannot execute int4 activations"),
        ({"weights": "int4"}, "cannot execute int4 weights"),
        ({"calibration": {"samples": 65}}, "the calibration split of tiny holds 64"),
        ({"batch_size": 97}, "the training split holds 96 samples"),
        ({"keep_float": ["clasifier"]}, "clasifier"),
        ({"keep_float": ["*"]}, "no layer could be quantized"),
    ],
)
def test_what_cannot_be_done_is_refused(
    learner: Model, context: Context, options: dict[str, object], problem: str
) -> None:
    int8 = frozenset({"float32", "int8"})
    with pytest.raises(ParingError, match=problem):
        QuantizeAware().apply(learner, config(**options), replace(context, limits=Limits(int8, int8)))
    assert not context.directory.exists()


def test_what_is_quantized_already_is_refused(learner: Model, context: Context) -> None:
    quantized = replace(learner, invariants=(Invariant("scale", "stem.0", [0.1]),))
    with pytest.raises(ParingError, match="quantized already"):
        QuantizeAware().apply(quantized, config(), context)


def test_options_that_contradict_are_refused() -> None:
    assert (QatConfig().epochs, QatConfig().learning_rate, QatConfig(steps=5).epochs) == (3, 0.01, None)
    for wrong in ({"epochs": 1, "steps": 1}, {"precision": "bfloat16"}, {"teacher": 5}, {"freeze_batch_norm": 2}):
        with pytest.raises(ValueError, match=r"epochs|precision|teacher|freeze_batch_norm"):
            QatConfig.model_validate(wrong)
