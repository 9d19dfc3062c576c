"""A package holds what the model is: read back, and computed by PyTorch from what was read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Array
from paring.measure.answers import of_model
from paring.steps import STEPS
from paring.targets.coreml import CoreML, CoreMLOptions, package
from paring.targets.coreml.library import types
from paring.targets.scales import rounded
from paring.testing.mil import answers
from paring.testing.models import TinyTask, quantized, tiny

IMAGES = {"image": np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)}


def stepped(step: str, tmp_path: Path, model: Model | None = None, **config: Any) -> Model:
    found = STEPS.load(step)()
    context = Context(TinyTask(), CoreML.limits, 0, tiny(), tmp_path)
    return found.apply(model or tiny(), found.Config.model_validate(config), context)


def constants(path: Path) -> list[Array]:
    """Every constant as Core ML will see it, unfolded."""
    (function,) = package.program(path).functions.values()
    kept = [one for one in function.operations if one.op_type.startswith("constexpr_") or one.op_type == "const"]
    values = [one.outputs[0].val if one.op_type == "const" else one.materialized_val_inference() for one in kept]
    return [value for value in values if isinstance(value, np.ndarray)]


def holds(path: Path, weight: Array) -> bool:
    return any(one.shape == weight.shape and np.array_equal(one, weight) for one in constants(path))


def weight_of(model: Model, layer: str) -> Array:
    found: Array = model.module.get_submodule(layer).get_parameter("weight").detach().numpy()
    return found


@pytest.mark.parametrize(("asked", "precision", "close"), [(None, "float32", 1e-5), ("float16", "float16", 2e-2)])
def test_a_float_model_is_the_model(tmp_path: Path, asked: Any, precision: str, close: float) -> None:
    """In float32 if nothing else is asked for, so that what was measured is as near as can be to the file."""
    path = CoreML().export(tiny(), tmp_path / "m.mlpackage", CoreMLOptions(precision=asked))
    wanted = of_model(tiny())(IMAGES)["output"]
    np.testing.assert_allclose(answers(path, IMAGES)["output"], wanted, atol=close * np.abs(wanted).max())
    held = {one.dtype for one in CoreML().describe(path).tensors if one.bytes}
    assert held == {precision}
    assert package.metadata(path)["precision"] == precision
    assert not [one for one in path.rglob("*") if one.is_file() and b"conversion_date" in one.read_bytes()]


SLOW = pytest.mark.slow  # the other operator for the same weights


@pytest.mark.parametrize("system", ["iOS17", pytest.param("iOS18", marks=SLOW)])
def test_a_quantized_model_keeps_its_codes_and_scales(tmp_path: Path, system: str) -> None:
    model = quantized()
    path = CoreML().export(model, tmp_path / "m.mlpackage", CoreMLOptions(minimum_deployment_target=system))
    wanted = of_model(model)(IMAGES)["output"]
    step = float(np.diff(np.unique(wanted)).min())
    np.testing.assert_allclose(answers(path, IMAGES)["output"], wanted, atol=1.01 * step)
    held = CoreML().describe(path)
    assert {rounded(one.value) for one in model.invariants if one.kind == "scale"} <= {
        rounded(one.scales) for one in held.tensors if one.dtype == "int8" and one.bytes
    }
    assert held.quantized == {"conv": 3, "clip": 2, "add": 1, "reduce_mean": 1, "linear": 1}
    assert not held.in_float


def test_in_float16_scales_are_rounded_to_it_and_codes_are_not(tmp_path: Path) -> None:
    model = quantized()
    path = CoreML().export(model, tmp_path / "m.mlpackage", CoreMLOptions(precision="float16"))
    scales = {one.layer: np.array(one.value, np.float32) for one in model.invariants if one.kind == "scale"}
    assert len(scales) == 4
    floats = dict(model.module.named_parameters())
    for layer, values in scales.items():
        weight = floats[f"{layer}.weight"].detach().numpy()
        each = values.reshape(-1, *[1] * (weight.ndim - 1))
        codes = np.rint(weight / each).clip(-127, 127)
        assert holds(path, codes.astype(np.float16) * each.astype(np.float16))


@pytest.mark.parametrize(
    ("config", "system", "operator"),
    [
        ({"weights": "int8"}, "iOS17", "constexpr_affine_dequantize"),
        ({"weights": "int4"}, "iOS18", "constexpr_blockwise_shift_scale"),
    ],
)
def test_stored_weights_are_the_models_own(tmp_path: Path, config: dict[str, str], system: str, operator: str) -> None:
    model = stepped("quantize.weights", tmp_path, **config)
    path = CoreML().export(model, tmp_path / "m.mlpackage")
    layers = [one.layer for one in model.invariants if one.kind == "codes"]
    assert layers == ["stem.0", "body.0", "body.3", "classifier"]
    assert all(holds(path, weight_of(model, layer)) for layer in layers)
    assert package.metadata(path)["minimum_deployment_target"] == system
    held = CoreML().describe(path)
    assert held.operators[operator] == 4
    assert [one.dtype for one in held.tensors if one.scales] == [config["weights"]] * 4
    wanted = of_model(model)(IMAGES)["output"]
    np.testing.assert_allclose(answers(path, IMAGES)["output"], wanted, atol=1e-5)


@pytest.mark.parametrize(("bits", "system"), [(4, "iOS17"), pytest.param(6, "iOS18", marks=SLOW)])
def test_a_palette_is_the_models_own(tmp_path: Path, bits: int, system: str) -> None:
    model = stepped("quantize.palette", tmp_path, bits=bits)
    path = CoreML().export(model, tmp_path / "m.mlpackage", CoreMLOptions(minimum_deployment_target=system))
    layers = [one.layer for one in model.invariants if one.kind == "codes"]
    assert all(holds(path, weight_of(model, layer)) for layer in layers)
    held = CoreML().describe(path)
    assert held.operators["constexpr_lut_to_dense"] == len(layers) >= 3
    stored = [one for one in held.tensors if one.dtype == f"palette{bits}"]
    assert [one.bytes for one in stored] == [
        -(-weight_of(model, layer).size * bits // 8) + 4 * 2**bits for layer in layers
    ]
    np.testing.assert_allclose(answers(path, IMAGES)["output"], of_model(model)(IMAGES)["output"], atol=1e-5)


def test_int4_weights_beside_int8_activations_are_int4_in_the_package(tmp_path: Path) -> None:
    model = stepped("quantize.static", tmp_path, weights="int4", calibration={"samples": 32}, ladder=None)
    path = CoreML().export(model, tmp_path / "m.mlpackage")
    assert package.metadata(path)["minimum_deployment_target"] == "iOS18"
    held = CoreML().describe(path)
    assert [one.dtype for one in held.tensors if one.scales] == ["int4"] * 4
    assert sum(held.quantized.values()) == 8


class Kinds(nn.Module):
    """Kinds of layers that the tiny network has not."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.group = nn.Embedding(20, 64), nn.Conv2d(64, 64, 3, groups=4, padding=1)
        self.up, self.head = nn.ConvTranspose2d(64, 32, 2, stride=2), nn.Linear(32, 5)

    def forward(self, ids: Tensor) -> Tensor:
        """int64, shape (batch, 4, 4) -> float32 (batch, 5)."""
        x: Tensor = self.up(self.group(self.words(ids).permute(0, 3, 1, 2)).relu())
        found: Tensor = self.head(x.mean((2, 3)))
        return found


@pytest.fixture(scope="module")
def kinds() -> Model:
    torch.manual_seed(0)
    ids = TensorSpec("ids", ("batch", 4, 4), "int64", "", (0, 19))
    return Model(Kinds().eval(), Source("torch:kinds"), (ids,), (TensorSpec("output", ("batch", 5)),))


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        pytest.param({"weights": "int8"}, ["words", "group", "up", "head"], marks=SLOW),
        ({"weights": "int8", "block": 16}, ["head"]),
    ],
)
def test_every_kind_of_layer_is_stored(tmp_path: Path, kinds: Model, config: dict[str, Any], layers: list[str]) -> None:
    model = stepped("quantize.weights", tmp_path, kinds, **config)
    assert [one.layer for one in model.invariants if one.kind == "codes"] == layers
    path = CoreML().export(model, tmp_path / "m.mlpackage")
    assert all(holds(path, weight_of(model, layer)) for layer in layers)
    (ids,) = package.program(path).functions["main"].inputs.values()
    assert types.builtin_to_string(ids.dtype) == "int32"


def test_an_older_system_than_the_weights_need_is_refused(tmp_path: Path) -> None:
    model = stepped("quantize.weights", tmp_path, weights="int4")
    with pytest.raises(ParingError, match="need iOS18") as caught:
        CoreML().export(model, tmp_path / "m.mlpackage", CoreMLOptions(minimum_deployment_target="iOS17"))
    assert "minimum_deployment_target" in caught.value.where
    assert not list(tmp_path.glob("*.mlpackage"))


def test_weights_in_float16_make_the_whole_model_float16(tmp_path: Path) -> None:
    model = stepped("quantize.float16", tmp_path)
    path = CoreML().export(model, tmp_path / "m.mlpackage")
    assert package.metadata(path)["precision"] == "float16"
    assert holds(path, weight_of(model, "body.3").astype(np.float16))


def test_weights_in_float16_can_be_computed_with_in_float32(tmp_path: Path) -> None:
    model = stepped("quantize.float16", tmp_path)
    path = CoreML().export(model, tmp_path / "m.mlpackage", CoreMLOptions(precision="float32"))
    held = CoreML().describe(path)
    assert held.operators["constexpr_cast"] == 4
    assert [one.dtype for one in held.tensors if one.bytes and len(one.shape) > 1] == ["float16"] * 4
    np.testing.assert_allclose(answers(path, IMAGES)["output"], of_model(model)(IMAGES)["output"], atol=1e-5)
