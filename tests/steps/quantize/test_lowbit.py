"""`quantize.dynamic`, `quantize.weights` and `quantize.float16`: weights on the grid, layers of ordinary float."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring.core.codes import LARGEST, Codes, Stored
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context, Step
from paring.core.target import Limits
from paring.load import probe, saved
from paring.measure.accuracy import sqnr
from paring.steps import STEPS, keep_invariants
from paring.steps.quantize.dynamic import DynamicConfig, QuantizeDynamic
from paring.steps.quantize.float16 import QuantizeFloat16
from paring.steps.quantize.lowbit import codes_hold, on_grid
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.steps.quantize.weights import QuantizeWeights, WeightsConfig
from paring.testing.models import TinyTask, tiny
from paring.testing.steps import StepContract

ALL = {"stem.0", "body.0", "body.3", "classifier"}


class LowBitContract(StepContract):
    def test_its_layers_stay_ordinary_and_answers_close(self, model: Model, result: Model) -> None:
        kinds = {type(module) for module in result.module.modules()}
        assert kinds <= {type(module) for module in model.module.modules()} | {nn.Identity}
        batch = next(iter(TinyTask().batches("test", 48)))
        assert sqnr(model(batch.inputs)["output"].numpy(), result(batch.inputs)["output"].numpy()) > 30
        assert not result.quantized


class TestQuantizeDynamic(LowBitContract):
    @pytest.fixture
    def step(self) -> Step:
        return QuantizeDynamic()

    def test_what_would_not_run_faster_is_left_in_float(self, model: Model, context: Context) -> None:
        limits = replace(context.limits, dynamic=frozenset({("int8", "linear", 0), ("int8", "conv", 0)}))
        result = QuantizeDynamic().apply(model, DynamicConfig(), replace(context, limits=limits))
        assert {one.layer for one in result.invariants} == ALL - {"body.0"}
        assert {one.value["activations"] for one in result.invariants} == {"dynamic"}
        (skipped,) = result.history[-1].skipped
        assert skipped.layer == "body.0"
        assert "no faster than in float" in skipped.reason
        assert isinstance(result.module.get_submodule("body.1"), nn.BatchNorm2d)  # of a layer that stays as it was
        assert QuantizeDynamic().acts_on(model)["body.0"] is not None

    def test_a_convolution_with_little_to_do_is_left_in_float(self, model: Model, context: Context) -> None:
        # 8 → 8 channels, 1×1: 8 multiply–accumulates for each value read, 4 for each read and written
        def stays(intensity: float) -> bool:
            limits = replace(context.limits, intensity=intensity)
            result = QuantizeDynamic().apply(model, DynamicConfig(), replace(context, limits=limits))
            assert "classifier" in {one.layer for one in result.invariants}
            return "body.3" in {one.layer for one in result.history[-1].skipped}

        assert stays(4.1)
        assert not stays(4.0)


class TestQuantizeWeights(LowBitContract):
    @pytest.fixture
    def step(self) -> Step:
        return QuantizeWeights()

    def test_the_layers_are_chosen_by_pattern(self, model: Model, context: Context) -> None:
        config = WeightsConfig(only=("body", "@last"), keep_float=("@depthwise",))
        result = QuantizeWeights().apply(model, config, context)
        assert [one.layer for one in result.invariants] == ["body.3", "classifier"]
        reasons = {one.layer: one.reason for one in result.history[-1].skipped}
        assert "the recipe asks" in reasons["body.0"]
        assert "not among" in reasons["stem.0"]
        with pytest.raises(UnknownName, match="clasifier"):
            QuantizeWeights().apply(model, WeightsConfig(only=("clasifier",)), context)

    def test_two_steps_share_the_layers(self, model: Model, context: Context, tmp_path: Path) -> None:
        half = QuantizeDynamic().apply(model, DynamicConfig(only=("@linear",)), context)
        whole = QuantizeWeights().apply(half, WeightsConfig(weights="int4"), context)
        keep_invariants(whole)
        found = {one.layer: (one.value["dtype"], one.value["activations"]) for one in whole.invariants}
        assert found.pop("classifier") == ("int8", "dynamic")
        assert set(found.values()) == {("int4", "float32")}
        assert "stored in int8 already" in {one.reason for one in whole.history[-1].skipped}
        again = saved.load(saved.save(whole, tmp_path / "m.safetensors"))
        keep_invariants(again)

    def test_what_runs_slower_is_told(self, model: Model, context: Context) -> None:
        limits = replace(context.limits, slow=frozenset({("int8", "conv", "float32")}))
        result = QuantizeWeights().apply(model, WeightsConfig(), replace(context, limits=limits))
        assert "slower than float, as conv weights are unpacked" in result.history[-1].changed


class TestQuantizeFloat16(LowBitContract):
    @pytest.fixture
    def step(self) -> Step:
        return QuantizeFloat16()

    def test_every_weight_is_a_float16(self, result: Model) -> None:
        assert {one.layer for one in result.invariants} == ALL
        for layer in ALL:
            weight = result.module.get_submodule(layer).get_parameter("weight")
            assert torch.equal(weight.half().float(), weight)


@pytest.mark.parametrize("name", ["quantize.dynamic", "quantize.weights", "quantize.float16"])
class TestRefusals:
    @pytest.fixture
    def step(self, name: str) -> Step:
        step: Step = STEPS.load(name)()
        return step

    @pytest.fixture
    def context(self, tmp_path: Path) -> Context:
        every = frozenset({"float32", "int8"})
        known = frozenset({("int8", "linear", 0), ("float16", "linear", 0), ("int4", "linear", 32)})
        return Context(TinyTask(), Limits(every, every, dynamic=known, stored=known), 0, tiny(), tmp_path)

    def test_a_target_without_such_weights(self, step: Step, context: Context) -> None:
        bare = replace(context, limits=Limits(frozenset({"float32"}), frozenset({"float32"})))
        with pytest.raises(ParingError, match="the targets cannot execute"):
            step.apply(tiny(), step.Config(), bare)

    def test_no_layer_left(self, step: Step, context: Context) -> None:
        with pytest.raises(ParingError, match="no layer could be stored"):
            step.apply(tiny(), step.Config.model_validate({"keep_float": ["classifier"]}), context)

    def test_groups_that_the_target_lacks(self, step: Step, name: str, context: Context) -> None:
        if name != "quantize.float16":
            with pytest.raises(ParingError, match="groups of 8") as caught:
                step.apply(tiny(), step.Config.model_validate({"weights": "int4", "block": 8}), context)
            assert "32" in caught.value.remedy
            config = step.Config.model_validate({"weights": "int4", "block": 32})
            with pytest.raises(ParingError, match="its 8 inputs are no multiple of 32"):
                step.apply(tiny(), config, context)

    def test_a_network_with_integer_scales(self, step: Step, context: Context) -> None:
        static = StaticConfig(calibration=Calibration(samples=8))
        with pytest.raises(ParingError, match="quantized already"):
            step.apply(QuantizeStatic().apply(tiny(), static, context), step.Config(), context)
        with pytest.raises(ParingError, match="quantized already"):
            QuantizeStatic().apply(step.apply(tiny(), step.Config(), context), static, context)

    def test_a_weight_that_changes_is_noticed(self, step: Step, context: Context) -> None:
        result = step.apply(tiny(), step.Config(), context)
        (invariant,) = result.invariants
        assert codes_hold(result, invariant) is None
        with torch.no_grad():
            result.module.get_submodule("classifier").get_parameter("weight")[0, 0] += 1e-3
        assert "no longer one of" in str(codes_hold(result, invariant))
        assert "gone" in str(codes_hold(replace(result, module=nn.Identity()), invariant))


def test_layers_that_no_rule_knows_are_named(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.rows = nn.Embedding(4, 8)
            self.unused = nn.Linear(8, 8)
            self.tied = nn.Linear(8, 8, bias=False)
            self.also = nn.Linear(8, 8, bias=False)
            self.also.weight = self.tied.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.rows(torch.arange(4))
            answer: torch.Tensor = self.also(self.tied(self.attention(x, x, x)[0]))
            return answer

    limits = Limits(frozenset(), frozenset(), stored=frozenset({("int8", "linear", 0), ("int8", "embedding", 0)}))
    context = Context(TinyTask(), limits, 0, tiny(), tmp_path)
    model = probe.model(Odd().eval(), Source("test"), (TensorSpec("x", ("batch", 4, 8)),))
    result = QuantizeWeights().apply(model, WeightsConfig(), context)
    assert [one.layer for one in result.invariants] == ["attention.out_proj", "tied", "also"]
    reasons = {one.layer: one.reason for one in result.history[-1].skipped}
    assert reasons.keys() == {"rows", "attention"}
    assert "constant" in reasons["rows"]
    assert "MultiheadAttention has no rule" in reasons["attention"]
    keep_invariants(result)


@given(
    st.sampled_from(["int8", "int4", "float16"]),
    st.sampled_from([0, 4, 8]),
    st.integers(0, 1),
    st.sampled_from(["minmax", "mse"]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-30, 1e-6, 1.0, 1e4]),
)
def test_on_the_grid_every_weight_is_the_nearest_of_its_codes(
    dtype: Stored, block: int, axis: int, ranges: str, seed: int, size: float
) -> None:
    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(seed)) * size
    weight[0] = 0.0
    axis = 0 if block else axis
    rounded, codes = on_grid(weight, dtype, axis, 0 if dtype == "float16" else block, ranges)  # type: ignore[arg-type]
    found = codes.of(rounded.numpy())
    assert found is not None
    assert Codes.from_json(codes.as_json()) == codes
    assert torch.equal(on_grid(rounded, "float16", axis)[0], rounded) or dtype != "float16"
    if dtype != "float16":
        assert np.abs(found).max() <= LARGEST[dtype]
        scales = torch.tensor(codes.scales).repeat_interleave(weight.movedim(axis, 0).numel() // len(codes.scales))
        error = (rounded - weight).movedim(axis, 0).flatten().abs()
        clipped = torch.from_numpy(np.moveaxis(found, axis, 0).copy()).flatten().abs() == LARGEST[dtype]
        assert bool((error <= scales * 0.5001)[~clipped].all())
        assert codes.of((rounded + scales.max() / 3).numpy()) is None


class Normed(nn.Module):
    """A layer, and a batch norm behind it whose channels are not the layer's: those of a linear layer lie last."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm
        norm.running_mean.copy_(torch.linspace(-1, 1, len(norm.running_mean)))  # type: ignore[union-attr,operator,arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.norm(self.layer(x))
        return found


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Linear(5, 4), nn.BatchNorm2d(4), (4, 3, 5)),
        (nn.Linear(5, 3), nn.BatchNorm2d(4), (4, 3, 5)),
        (nn.Linear(5, 4), nn.BatchNorm1d(4), (4, 5)),
        (nn.Embedding(9, 4), nn.BatchNorm1d(4), (4,)),
        (nn.Embedding(9, 4), nn.BatchNorm1d(6), (6,)),
    ],
)
def test_a_norm_over_another_axis_is_not_folded(
    layer: nn.Module, norm: nn.Module, shape: tuple[int, ...], tmp_path: Path
) -> None:
    spec = TensorSpec.of("x", shape, "float32" if isinstance(layer, nn.Linear) else "int64")
    model = probe.model(Normed(layer, norm).eval(), Source("torch:drawn", {}), (spec,))
    kinds = ("linear", "embedding")
    limits = Limits(frozenset({"int8"}), frozenset(), stored=frozenset(("int8", kind, 0) for kind in kinds))
    with pytest.raises(ParingError, match="layer: the batch norm behind it cannot be folded into it"):
        QuantizeWeights().apply(model, WeightsConfig(), Context(TinyTask(), limits, 0, model, tmp_path))


def test_a_layer_whose_weights_do_not_suit_float16_stays_in_float32(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    with torch.no_grad():
        module[0].weight.fill_(5.1e-8)
        module[1].weight[0, 0] = 1e5
    model = probe.model(module, Source("torch:drawn", {}), (TensorSpec.of("x", (4,)),))
    limits = Limits(frozenset(), frozenset(), stored=frozenset({("float16", "linear", 0)}))
    result = QuantizeFloat16().apply(model, QuantizeFloat16.Config(), Context(TinyTask(), limits, 0, model, tmp_path))
    assert {one.layer for one in result.invariants} == {"2"}
    assert [(one.layer, one.reason.split(" float16")[0]) for one in result.history[-1].skipped] == [
        ("0", "its weights, 5.1e-08 at most, are too small for"), ("1", "its largest weight, 1e+05, is beyond")
    ]  # fmt: skip
    assert torch.equal(result.module.get_submodule("0").get_parameter("weight"), module[0].weight)
