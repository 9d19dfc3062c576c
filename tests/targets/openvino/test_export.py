"""The files hold what the model promised, and OpenVINO executes it, or they are not written."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from paring.core.codes import Codes
from paring.core.errors import ParingError
from paring.core.model import Invariant, Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Contents, ExportOptions
from paring.core.task import Batch, Split
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps import STEPS
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.onnxruntime import ONNXRuntime
from paring.targets.openvino import OpenVINO, codes, plugin
from paring.targets.openvino.library import PartialShape, openvino, opset
from paring.testing.models import TinyTask, quantized, tiny

TARGET = OpenVINO()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TARGET.export(quantized(), tmp_path_factory.mktemp("q") / "m.openvino")


@pytest.fixture
def integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin's integer kernels, on a processor on which their sums saturate too."""
    monkeypatch.setattr(plugin, "saturates", lambda _: False)


@pytest.fixture
def contents(artifact: Path, integers: None) -> Contents:
    return TARGET.describe(artifact)


def test_scales_are_those_of_the_onnx_of_the_same_model(contents: Contents, tmp_path: Path) -> None:
    other = ONNXRuntime().describe(ONNXRuntime().export(quantized(), tmp_path / "m.onnx"))
    weights, wanted = (
        sorted(one.scales for one in held.tensors if one.bytes and one.dtype == "int8" and one.scales)
        for held in (contents, other)
    )
    assert weights == wanted
    assert len(weights) == 4
    activations, wanted_too = (
        sorted({(one.scales[0], one.zero_points[0]) for one in held.tensors if one.dtype == "uint8" and one.scales})
        for held in (contents, other)
    )
    assert [point for _, point in activations] == [point for _, point in wanted_too]
    np.testing.assert_allclose([one for one, _ in activations], [one for one, _ in wanted_too], rtol=1e-6)
    assert len(activations) == 7


def test_every_computing_operator_runs_on_integers(contents: Contents) -> None:
    """The sum is fused into the convolution before it."""
    assert contents.quantized == {"Convolution": 3, "Reduce": 1, "FullyConnected": 1}
    assert not contents.in_float


@pytest.mark.usefixtures("integers")
def test_so_it_does_where_it_is_fed_codes_with_their_channels_last(tmp_path: Path) -> None:
    path = TARGET.export(quantized(), tmp_path / "m.openvino", ExportOptions(io="int8", layout="NHWC"))
    found = TARGET.describe(path)
    assert sum(found.quantized.values()) == 5
    assert not found.in_float
    runner = TARGET.open(path)
    end = runner.ends["image"]  # type: ignore[attr-defined]
    assert (end.shape[1:], end.dtype, end.channels_last) == ((8, 8, 1), "uint8", True)


def test_on_a_processor_whose_sums_saturate_it_computes_in_float(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "saturates", lambda _: True)
    found = TARGET.describe(artifact)
    assert not found.quantized
    assert len(found.in_float) == 6  # the sum is by itself


class Ones(TinyTask):
    """Images that are all ones."""

    def batches(self, split: Split, batch_size: int, **options: Any) -> Iterator[Batch]:
        for batch in super().batches(split, batch_size, **options):
            yield Batch({"image": torch.ones_like(batch.inputs["image"])}, batch.targets)


def test_large_codes_do_not_saturate_where_the_processor_has_no_vnni(tmp_path: Path) -> None:
    """Every product is the largest there is: pairs of them do not fit into 16 bits."""
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1 if parameter.ndim > 1 else 0.0)
    specs = (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),)
    model = probe.model(network.eval(), Source("test"), specs)
    config = StaticConfig(calibration=Calibration(samples=16))
    found = QuantizeStatic().apply(model, config, Context(Ones(), TARGET.limits, 0, model, tmp_path))
    images = {"image": np.ones((2, 1, 8, 8), np.float32)}
    answers = TARGET.open(TARGET.export(found, tmp_path / "m.openvino")).run(images)["output"]
    np.testing.assert_allclose(answers, of_model(found)(images)["output"], rtol=0.02)


def test_floats_stay_floats(tmp_path: Path) -> None:
    """On a processor that could do so, OpenVINO would compute in bfloat16, which keeps three digits."""
    path, model = TARGET.export(tiny(), tmp_path / "m.openvino"), tiny()
    image = {"image": np.random.default_rng(1).normal(size=(3, 1, 8, 8)).astype(np.float32)}
    wanted = of_model(model)(image)["output"]
    np.testing.assert_allclose(TARGET.open(path).run(image)["output"], wanted, atol=1e-6 * np.abs(wanted).max())
    held = TARGET.describe(path)
    assert not held.quantized
    assert ("Convolution", "stem.0_0") in held.in_float
    assert len(held.in_float) == 5


def test_the_files_tell_what_they_are_and_nothing_of_the_machine(artifact: Path) -> None:
    text = (artifact / "model.xml").read_text()
    assert {file.name for file in artifact.iterdir()} == {"model.xml", "model.bin"}
    assert "<paring value=" in text
    assert "conversion_parameters" not in text
    assert ".onnx" not in text
    assert str(Path.cwd()) not in text


@pytest.mark.usefixtures("integers")
def test_a_layer_kept_in_float_computes_in_float(tmp_path: Path) -> None:
    config = StaticConfig(calibration=Calibration(samples=64), keep_float=("body.3",))
    model = QuantizeStatic().apply(tiny(), config, Context(TinyTask(), TARGET.limits, 0, tiny(), tmp_path))
    path = TARGET.export(model, tmp_path / "m.openvino")
    ((kind, name),) = TARGET.describe(path).in_float
    assert (kind, name.startswith("body.3")) == ("Convolution", True)
    images = {"image": np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)}
    wanted, found = of_model(model)(images)["output"], TARGET.open(path).run(images)["output"]
    np.testing.assert_allclose(found, wanted, atol=2.01 * float(np.diff(np.unique(wanted)).min()))


class Everything(nn.Module):
    """Each kind of layer whose weight can be stored in few bits; one weight is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.conv = nn.Embedding(50, 64), nn.Conv2d(1, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.depthwise, self.grouped = nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 16, 1, groups=2)
        self.transposed, self.linear = nn.ConvTranspose2d(16, 4, 2), nn.Linear(5, 64)
        self.head = nn.Linear(64, 50, bias=False)
        self.head.weight = self.rows.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """int64, shape (batch, 8) -> (batch, 4, 61, 50)."""
        x = self.depthwise(torch.relu(self.norm(self.conv(self.rows(x)[:, None]))))
        x = self.transposed(self.grouped(x)).transpose(2, 3)
        answer: torch.Tensor = self.head(self.linear(x))
        return answer


def test_what_is_stored_in_few_bits_is_so_in_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = probe.model(Everything().eval(), Source("test"), (TensorSpec("x", ("batch", 8), "int64", range=(0, 49)),))
    context = Context(TinyTask(), TARGET.limits, 0, model, tmp_path)
    for step, options in (("quantize.weights", {"keep_float": ["grouped", "linear"]}), ("quantize.float16", {})):
        technique = STEPS.load(step)()
        model = technique.apply(model, technique.Config.model_validate(options), context)
    path = TARGET.export(model, tmp_path / "m.openvino")
    held = TARGET.describe(path)
    stored = [(one.dtype, one.scales) for one in held.tensors if one.bytes]
    promised = [Codes.from_json(one.value) for one in model.invariants]
    assert sorted(one.dtype for one in promised) == ["float16"] * 2 + ["int8"] * 5
    for one in promised:
        assert (one.dtype, tuple(map(float, np.float32(one.scales)))) in stored
    ids = {"x": np.random.default_rng(0).integers(0, 50, (3, 8))}
    wanted = of_model(model)(ids)["output"]
    np.testing.assert_allclose(TARGET.open(path).run(ids)["output"], wanted, atol=1e-5 * np.abs(wanted).max())
    assert not held.quantized


def test_a_weight_that_the_graph_lacks_is_told() -> None:
    given = opset.parameter(PartialShape([1, 3]), np.float32)
    model = replace(tiny(), invariants=(Invariant("codes", "classifier", Codes("float16").as_json()),))
    with pytest.raises(ParingError, match=r"came out in float \(classifier"):
        codes.store(openvino.Model([opset.negative(given)], [given]), model, "here")


def test_a_model_that_came_out_float_is_not_written(tmp_path: Path) -> None:
    promised = replace(tiny(), invariants=(Invariant("scale", "classifier", [0.1] * 10),))
    with pytest.raises(ParingError, match="came out without their scales"):
        TARGET.export(promised, tmp_path / "m.openvino")
    assert not list(tmp_path.iterdir())


class Determinant(nn.Module):
    """ONNX has the operator, OpenVINO does not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """float32, shape (batch, 2, 3, 3) -> (batch, 2)."""
        return torch.linalg.det(x)


def test_what_onnx_has_and_openvino_lacks_is_named_with_its_layer(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 3), Determinant(), nn.Linear(2, 2))
    model = probe.model(network.eval(), Source("test"), (TensorSpec("x", ("batch", 2, 3, 3)),))
    with pytest.raises(ParingError, match="1: OpenVINO has no conversion for ONNX's Det ") as caught:
        TARGET.export(model, tmp_path / "m.openvino")
    assert "replace" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_type_that_the_file_lacks_is_named() -> None:
    specs = (TensorSpec("x", ("batch", 4), "complex64"),), (TensorSpec("output", ("batch", 4), "complex64"),)
    found = TARGET.check(Model(nn.Identity().eval(), Source("test"), *specs))
    assert [one.where for one in found] == ["x", "output"]
    assert "OpenVINO" in found[0].problem
