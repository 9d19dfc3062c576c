"""An `.onnx` holds what the model promised, or is not written."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Invariant, Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Contents, ExportOptions
from paring.core.task import Batch, Split
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.litert import LiteRT
from paring.targets.onnxruntime import ONNXRuntime, export, file
from paring.targets.onnxruntime.runner import ONNXRuntimeRunner
from paring.testing.models import TinyTask, quantized, tiny

TARGET = ONNXRuntime()


@pytest.fixture(scope="module")
def int8_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TARGET.export(quantized(), tmp_path_factory.mktemp("q") / "m.onnx")


@pytest.fixture(scope="module")
def contents(int8_file: Path) -> Contents:
    return TARGET.describe(int8_file)


def litert_scales(path: Path) -> tuple[Counter[tuple[float, ...]], set[tuple[float, int]]]:
    """Scales of the int8 weights of a `.tflite`, and (scale, zero point) of its int8 activations."""
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph, weights, activations = model.Subgraphs(0), Counter[tuple[float, ...]](), set()
    for tensor in (graph.Tensors(i) for i in range(graph.TensorsLength())):
        if tensor.Type() != schema.TensorType.INT8:
            continue
        scales = tuple(tensor.Quantization().ScaleAsNumpy().tolist())
        if model.Buffers(tensor.Buffer()).DataLength():
            weights[scales] += 1
        else:
            activations.add((scales[0], int(tensor.Quantization().ZeroPointAsNumpy()[0])))
    return weights, activations


def test_every_scale_is_that_of_the_tflite_of_the_same_model(contents: Contents, tmp_path: Path) -> None:
    weights, activations = litert_scales(LiteRT().export(quantized(), tmp_path / "m.tflite"))
    stored = [tensor for tensor in contents.tensors if tensor.bytes and tensor.dtype == "int8" and tensor.scales]
    assert Counter(tensor.scales for tensor in stored) == weights
    assert sum(weights.values()) == 4
    codes = [tensor for tensor in contents.tensors if tensor.dtype == "uint8" and tensor.scales]
    assert {(tensor.scales[0], tensor.zero_points[0]) for tensor in codes} == activations
    assert len(activations) == 7


def test_every_computing_operator_runs_on_integers(contents: Contents) -> None:
    assert contents.quantized == {"QLinearConv": 3, "QLinearAdd": 1, "QLinearGlobalAveragePool": 1, "QGemm": 1}
    assert not contents.in_float
    assert not {"Clip", "Relu", "ReduceMean"} & set(contents.operators)


def test_integer_ends_are_the_codes_of_the_graph_within(int8_file: Path, tmp_path: Path) -> None:
    path = TARGET.export(quantized(), tmp_path / "m.onnx", ExportOptions(io="int8"))
    graph = onnx.load(path).graph
    assert [end.type.tensor_type.elem_type for end in (*graph.input, *graph.output)] == [onnx.TensorProto.UINT8] * 2
    whole, bare = (Counter(node.op_type for node in onnx.load(one).graph.node) for one in (int8_file, path))
    assert whole - bare == {"QuantizeLinear": 1, "DequantizeLinear": 1}
    image = {"image": np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)}
    answers = [TARGET.open(one).run(image)["output"] for one in (int8_file, path)]
    np.testing.assert_array_equal(*answers)
    ends = {tensor.name: tensor for tensor in TARGET.describe(path).tensors if tensor.name in ("image", "output")}
    assert all(tensor.scales and tensor.dtype == "uint8" for tensor in ends.values())


def test_large_codes_do_not_saturate_where_the_processor_has_no_vnni(tmp_path: Path) -> None:
    """Every product is the largest there is: pairs of them do not fit into 16 bits. Layers are alike in width."""
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)
    )
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1 if parameter.ndim > 1 else 0.0)
    specs = (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),)
    model = probe.model(network.eval(), Source("test"), specs)
    context = Context(Ones(), TARGET.limits, 0, model, tmp_path)
    found = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=16)), context)
    path = TARGET.export(found, tmp_path / "m.onnx")
    graph = onnx.load(path).graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = [node for node in graph.node if stored.get(node.input[0]) == onnx.TensorProto.INT8]
    assert len({node.input[2] for node in weights}) == len(weights) == 3
    images = {"image": np.ones((2, 1, 8, 8), np.float32)}
    np.testing.assert_allclose(
        TARGET.open(path).run(images)["output"], of_model(found)(images)["output"], rtol=0.02, atol=0
    )


class Ones(TinyTask):
    """Images that are all ones."""

    def batches(self, split: Split, batch_size: int, **options: Any) -> Iterator[Batch]:
        for batch in super().batches(split, batch_size, **options):
            yield Batch({"image": torch.ones_like(batch.inputs["image"])}, batch.targets)


def test_the_file_tells_what_it_is_and_nothing_of_the_machine(int8_file: Path) -> None:
    proto = onnx.load(int8_file)
    (entry,) = proto.metadata_props
    assert entry.key == "paring"
    assert [(one.domain, one.version) for one in proto.opset_import] == [("", export.OPSET)]
    assert not [node for node in proto.graph.node if node.metadata_props or node.doc_string]
    content = int8_file.read_bytes()
    assert b".py" not in content
    assert str(Path.cwd()).encode() not in content


def test_names_are_those_of_layers_and_unlike(contents: Contents, int8_file: Path) -> None:
    names = [tensor.name for tensor in contents.tensors]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 32
    convs = [node.name.rpartition("_")[0] for node in onnx.load(int8_file).graph.node if node.op_type == "Conv"]
    assert convs == ["stem.0", "body.0", "body.3"]


def test_the_batch_size_is_free(tmp_path: Path) -> None:
    model = tiny()
    runner = TARGET.export(model, tmp_path / "m.onnx")
    image = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)
    (found,) = ONNXRuntimeRunner(runner)._session.run(None, {"image": image})
    np.testing.assert_allclose(found, of_model(model)({"image": image})["output"], atol=1e-4)


class Fixed(nn.Module):
    """Its code knows one batch size only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, 2, 2).sum(2)


def test_a_model_of_one_batch_size_becomes_a_file_of_it(tmp_path: Path) -> None:
    specs = (TensorSpec("x", ("batch", 4)),), (TensorSpec("output", ("batch", 2)),)
    model = Model(Fixed().eval(), Source("test"), *specs)
    runner = TARGET.open(TARGET.export(model, tmp_path / "m.onnx"))
    assert runner.run({"x": np.arange(8, dtype=np.float32).reshape(2, 4)})["output"].tolist() == [[1, 5], [9, 13]]


def test_several_inputs_and_outputs_keep_their_names_and_order(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return left - right, left.sum(1)

    specs = (TensorSpec("left", ("batch", 4)), TensorSpec("right", ("batch", 4)))
    runner = TARGET.open(TARGET.export(probe.model(Two(), Source("test"), specs), tmp_path / "m.onnx"))
    left, right = torch.arange(8.0).reshape(2, 4), torch.ones(2, 4)
    found = runner.run({"right": right.numpy(), "left": left.numpy()})
    assert list(found) == ["output", "output_1"]
    assert found["output"].tolist() == (left - right).tolist()
    assert found["output_1"].tolist() == left.sum(1).tolist()


def test_a_model_that_came_out_float_is_not_written(tmp_path: Path) -> None:
    promised = replace(tiny(), invariants=(Invariant("scale", "classifier", [0.1] * 10),))
    with pytest.raises(ParingError, match="came out without their scales"):
        TARGET.export(promised, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_the_checker_refuses_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "FORMAT", 2)  # of the year 2017: there was no opset 18
    with pytest.raises(ParingError, match="not valid"):
        TARGET.export(tiny(), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_into_one_file_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LARGEST", 1000)
    with pytest.raises(ParingError, match="2 GiB") as caught:
        TARGET.export(tiny(), tmp_path / "m.onnx")
    assert "int8" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_what_the_exporter_says_is_the_cause_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no translation today")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ParingError, match="could not translate") as caught:
        TARGET.export(tiny(), tmp_path / "m.onnx")
    assert "today" not in str(caught.value)
    assert "today" in str(caught.value.__cause__)
    assert not list(tmp_path.iterdir())


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    TARGET.export(tiny(), tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("layer", ["body.3", "classifier"])
def test_a_layer_kept_in_float_is_not_rounded_by_the_runtime(layer: str, tmp_path: Path) -> None:
    """ONNX Runtime would round the weight of a plain operator between two quantized tensors by itself."""
    config = StaticConfig(calibration=Calibration(samples=64), keep_float=(layer,))
    context = Context(TinyTask(), ONNXRuntime.limits, 0, tiny(), tmp_path)
    model = QuantizeStatic().apply(tiny(), config, context)
    artifact = ONNXRuntime().export(model, tmp_path / "m.onnx")
    ((kind, name),) = ONNXRuntime().describe(artifact).in_float
    assert kind in {"FusedConv", "FusedGemm"}
    assert name.startswith("output" if layer == "classifier" else layer)
    images = {"image": np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)}
    wanted, found = of_model(model)(images)["output"], ONNXRuntime().open(artifact).run(images)["output"]
    step = float(np.diff(np.unique(wanted)).min()) if layer != "classifier" else 0.02
    np.testing.assert_allclose(found, wanted, atol=2.01 * step)
