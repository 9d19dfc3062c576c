"""A `.pte` holds what the model promised, or is not written."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Invariant, Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Contents, ExportOptions
from paring.load import probe
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.executorch import ExecuTorch, program
from paring.targets.executorch.export import export
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask, quantized, tiny

Scales = Counter[tuple[float, ...]]


@pytest.fixture(scope="module")
def int8_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(quantized(), tmp_path_factory.mktemp("q") / "m.pte", ExportOptions(io="int8"))


@pytest.fixture(scope="module")
def found(int8_file: Path) -> Contents:
    return ExecuTorch().describe(int8_file)


def test_every_weight_is_int8_with_the_scales_of_the_model(found: Contents) -> None:
    promised = Counter(tuple(np.float32(invariant.value).tolist()) for invariant in quantized().invariants)
    assert Counter(tensor.scales for tensor in found.tensors if tensor.dtype == "qcint8") == promised
    assert not [tensor.name for tensor in found.tensors if tensor.dtype in {"fp32", "float"}]


def test_every_operator_runs_on_integers(found: Contents) -> None:
    computing = {"DepthwiseConv2d": 2, "Conv2d": 1, "Add": 1, "GlobalAvgPooling2d": 1, "FullyConnected": 1}
    assert found.quantized == computing
    assert not found.in_float
    assert "Convert" not in found.operators


def test_float_ends_are_one_operator_each(found: Contents, tmp_path: Path) -> None:
    ends = ExecuTorch().describe(export(quantized(), tmp_path / "m.pte"))
    assert ends.operators == {**found.operators, "Convert": 2}
    assert ends.quantized == found.quantized


def test_scales_are_those_of_the_tflite(found: Contents, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    path = LiteRT().export(quantized(), tmp_path / "m.tflite", ExportOptions(io="int8"))
    details = [
        (one["dtype"], one["quantization_parameters"])
        for one in Interpreter(str(path)).get_tensor_details()
        if one["dtype"] is np.int8
    ]
    weights = Counter(tuple(q["scales"].tolist()) for _, q in details if len(q["scales"]) > 1)
    activations = {(float(q["scales"][0]), int(q["zero_points"][0])) for _, q in details if len(q["scales"]) == 1}
    assert Counter(t.scales for t in found.tensors if t.dtype == "qcint8") == weights
    assert {(t.scales[0], t.zero_points[0]) for t in found.tensors if t.dtype == "qint8"} == activations


@cache
def _keeping(layer: str) -> Model:
    context = Context(TinyTask(), ExecuTorch.limits, 0, tiny(), Path())
    config = StaticConfig(calibration=Calibration(samples=32), keep_float=(layer,))
    return QuantizeStatic().apply(tiny(), config, context)


def test_an_operator_left_in_float_is_named(tmp_path: Path) -> None:
    found = ExecuTorch().describe(export(_keeping("body.3"), tmp_path / "m.pte"))
    assert found.in_float == (("Conv2d", "body.3"),)
    assert "Conv2d" not in found.quantized


def test_of_a_float_model_everything_is_in_float(tmp_path: Path) -> None:
    found = ExecuTorch().describe(export(tiny(), tmp_path / "m.pte"))
    assert not found.quantized
    assert Counter(operator for operator, _ in found.in_float) == {
        "DepthwiseConv2d": 2, "Conv2d": 1, "Add": 1, "GlobalAvgPooling2d": 1, "FullyConnected": 1,
    }  # fmt: skip


def test_the_file_tells_what_it_is(int8_file: Path) -> None:
    metadata = program.metadata(int8_file.read_bytes())
    assert metadata["layout"] == "NCHW"
    assert [TensorSpec.from_json(spec) for spec in metadata["inputs"]] == list(quantized().inputs)


def test_a_model_that_came_out_float_is_not_written(tmp_path: Path) -> None:
    promised = replace(tiny(), invariants=(Invariant("scale", "classifier", [0.1] * 10),))
    with pytest.raises(ParingError, match="came out without their scales") as caught:
        export(promised, tmp_path / "m.pte")
    assert "classifier" in caught.value.problem
    assert not list(tmp_path.iterdir())


def test_what_the_lowering_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from paring.targets.executorch import check

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no lowering today")

    monkeypatch.setattr(check, "to_edge_transform_and_lower", fail)
    with pytest.raises(ParingError, match="no lowering today"):
        export(tiny(), tmp_path / "m.pte")
    assert not list(tmp_path.iterdir())


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = ExecuTorch()
    target.open(target.export(tiny(), tmp_path / "m.pte"))
    assert capfd.readouterr() == ("", "")


def test_several_inputs_and_outputs_keep_their_names_and_order(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return left - right, left.sum(1)

    specs = (TensorSpec("left", ("batch", 4)), TensorSpec("right", ("batch", 4)))
    target = ExecuTorch()
    runner = target.open(target.export(probe.model(Two(), Source("test"), specs), tmp_path / "m.pte"))
    left, right = torch.arange(8.0).reshape(2, 4), torch.ones(2, 4)
    found = runner.run({"right": right.numpy(), "left": left.numpy()})
    assert found["output"].tolist() == (left - right).tolist()
    assert found["output_1"].tolist() == left.sum(1).tolist()
