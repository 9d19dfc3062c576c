"""`quantize.static` keeps the contract of steps, and says what it cannot do."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context, Step, StepConfig
from paring.core.target import Limits
from paring.core.task import Batch
from paring.load import saved
from paring.measure.accuracy import sqnr
from paring.steps.quantize.fixed import scale_holds
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.testing.models import TinyTask
from paring.testing.steps import StepContract


class TestQuantizeStatic(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return QuantizeStatic()

    @pytest.fixture(params=["minmax", "mse"])
    def config(self, request: pytest.FixtureRequest) -> StepConfig:
        return StaticConfig(calibration=Calibration(method=request.param, samples=64))

    def test_its_answers_stay_close_to_float(self, model: Model, result: Model) -> None:
        batch = next(iter(TinyTask().batches("test", 48)))
        assert sqnr(model(batch.inputs)["output"].numpy(), result(batch.inputs)["output"].numpy()) > 25

    def test_every_weight_takes_few_values(self, result: Model) -> None:
        assert {invariant.layer for invariant in result.invariants} == {"stem.0", "body.0", "body.3", "classifier"}
        assert "4 layers to int8" in result.history[-1].changed
        assert result.history[-1].skipped == ()

    def test_a_scale_that_changes_is_noticed(self, result: Model) -> None:
        invariant = result.invariants[0]
        assert scale_holds(result, invariant) is None
        assert "have changed" in str(scale_holds(result, replace(invariant, value=[0.5])))
        assert "no longer quantized" in str(scale_holds(result, replace(invariant, layer="other")))
        assert "no longer" in str(scale_holds(replace(result, module=torch.nn.Identity()), invariant))

    def test_what_is_quantized_already_is_refused(
        self, step: Step, result: Model, config: StepConfig, context: Context
    ) -> None:
        with pytest.raises(ParingError, match="quantized already"):
            step.apply(result, config, context)

    def test_a_layer_is_kept_in_float_with_all_that_is_in_it(self, model: Model, context: Context) -> None:
        config = StaticConfig(keep_float=("body",), calibration=Calibration(samples=32))
        result = QuantizeStatic().apply(model, config, context)
        assert {invariant.layer for invariant in result.invariants} == {"stem.0", "classifier"}
        assert {"body.0", "body.3"} <= {skipped.layer for skipped in result.history[-1].skipped}

    @pytest.mark.parametrize(
        ("config", "problem", "remedy"),
        [
            (StaticConfig(calibration=Calibration(samples=65)), "the calibration split of tiny holds 64", "64"),
            (
                StaticConfig(keep_float=("clasifier*",), calibration=Calibration(samples=4)),
                "clasifier*",
                "'classifier'",
            ),
            (
                StaticConfig(keep_float=("*",), calibration=Calibration(samples=4)),
                "no layer could be quantized",
                "keep_float",
            ),
        ],
    )
    def test_what_cannot_be_done_is_refused(
        self, model: Model, context: Context, config: StaticConfig, problem: str, remedy: str
    ) -> None:
        with pytest.raises(ParingError) as caught:
            QuantizeStatic().apply(model, config, context)
        assert problem in caught.value.problem
        assert remedy in caught.value.remedy

    def test_a_target_without_int8_is_refused(self, model: Model, context: Context) -> None:
        floats = Limits(frozenset({"float32"}), frozenset({"float32"}))
        with pytest.raises(ParingError, match="cannot execute int8 weights"):
            QuantizeStatic().apply(model, StaticConfig(), replace(context, limits=floats))

    def test_samples_that_are_no_numbers_are_refused_with_the_layer(
        self, model: Model, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = next(iter(TinyTask().batches("calibration", 8)))
        batch.inputs["image"][3, 0, 2, 2] = float("nan")
        monkeypatch.setattr(TinyTask, "batches", lambda self, split, size, **options: iter([batch]))
        with pytest.raises(ParingError, match="NaN or infinite") as caught:
            QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=8)), context)
        assert "the input" in caught.value.where

    @pytest.mark.parametrize(
        ("inputs", "problem"),
        [
            ({"image": torch.zeros(4, 1, 9, 9)}, "the shape \\(4, 1, 9, 9\\), the model takes"),
            ({"image": torch.zeros(4, 1, 8)}, "the shape \\(4, 1, 8\\), the model takes"),
            ({"picture": torch.zeros(4, 1, 8, 8)}, "have no 'image', but picture"),
        ],
    )
    def test_calibration_data_of_another_shape_are_refused(
        self, model: Model, context: Context, monkeypatch: pytest.MonkeyPatch, inputs: dict, problem: str
    ) -> None:
        batch = Batch(inputs, torch.zeros(4, dtype=torch.int64))
        monkeypatch.setattr(TinyTask, "batches", lambda self, split, size, **options: iter([batch]))
        with pytest.raises(ParingError, match=problem):
            QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=8)), context)

    def test_a_network_that_cannot_be_traced_is_refused(self, model: Model, context: Context) -> None:
        class Branching(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x if x.sum() > 0 else -x

        with pytest.raises(ParingError, match="cannot trace"):
            QuantizeStatic().apply(
                replace(model, module=Branching().eval()), StaticConfig(calibration=Calibration(samples=8)), context
            )

    def test_one_constant_sample_is_enough(
        self, model: Model, context: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = next(iter(TinyTask().batches("calibration", 1)))
        batch.inputs["image"].fill_(0.25)
        monkeypatch.setattr(TinyTask, "batches", lambda self, split, size, **options: iter([batch]))
        result = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=1)), context)
        assert torch.isfinite(result(batch.inputs)["output"]).all()

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"weights": "int4"}, "cannot execute int4 weights"),
            ({"layers": {"@last": {"activations": "int16"}}}, "cannot execute int16 activations"),
        ],
    )
    def test_bits_that_the_target_lacks_are_refused(
        self, model: Model, context: Context, options: dict[str, object], problem: str
    ) -> None:
        int8 = frozenset({"float32", "int8"})
        with pytest.raises(ParingError, match=problem) as caught:
            QuantizeStatic().apply(
                model, StaticConfig.model_validate(options), replace(context, limits=Limits(int8, int8))
            )
        assert "one of float32, int8" in caught.value.remedy

    @pytest.mark.parametrize(
        ("options", "codes"),
        [
            ({"weights": "int4"}, 15),
            ({"granularity": "tensor"}, 255),
            ({"symmetric": True}, 255),
            ({"activations": "int16"}, 255),
            ({"weights": "int4", "layers": {"@depthwise": {"weights": "int8"}, "@first": {"weights": "int8"}}}, 15),
        ],
    )
    def test_weights_take_as_many_values_as_their_bits_allow(
        self, model: Model, context: Context, options: dict[str, object], codes: int, tmp_path: Path
    ) -> None:
        given = {"calibration": {"samples": 32}, **options}
        result = QuantizeStatic().apply(model, StaticConfig.model_validate(given), context)
        scales = {one.layer: one.value for one in result.invariants}
        assert {len(one) for one in scales.values()} == ({1} if "granularity" in options else {8, 10})
        weight = result.module.get_parameter("classifier.weight")
        scale = torch.tensor(scales["classifier"]).reshape(-1, 1)
        used = (weight / scale).round().abs().max()
        assert codes // 2 * 0.9 < used <= codes // 2 * 4  # clipped to ± codes // 2 where the graph rounds it
        batch = next(iter(TinyTask().batches("test", 48)))
        again = saved.load(saved.save(result, tmp_path / "m.safetensors"))
        assert torch.equal(again(batch.inputs)["output"], result(batch.inputs)["output"])
        worst = 8 if codes == 15 else 20
        assert sqnr(model(batch.inputs)["output"].numpy(), result(batch.inputs)["output"].numpy()) > worst
