"""What a file is said to hold is what ONNX Runtime executes."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Source, TensorSpec
from paring.core.step import Context
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.onnxruntime import ONNXRuntime, file
from paring.testing.models import TinyTask, tiny

TARGET = ONNXRuntime()


class Swish(nn.Module):
    """A hard swish, for which ONNX Runtime has no integer kernel, in a network of operators that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(5, 4, 3)
        self.classifier = nn.Linear(4, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        joined = torch.cat((nn.functional.hardswish(self.first(image)), image), 1)
        mean = self.second(nn.functional.max_pool2d(joined, 2)).mean((2, 3))
        logits: torch.Tensor = self.classifier(mean)
        return logits


def test_an_operator_left_in_float_is_named(tmp_path: Path) -> None:
    specs = (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW", (-3.0, 3.0)),)
    model = probe.model(Swish(), Source("test"), specs)
    context = Context(TinyTask(), TARGET.limits, 0, model, tmp_path)
    config = StaticConfig(calibration=Calibration(samples=16), keep_float=("classifier",))
    result = QuantizeStatic().apply(model, config, context)
    path = TARGET.export(result, tmp_path / "m.onnx")
    contents = TARGET.describe(path)
    assert contents.quantized == {
        "QLinearConv": 2, "QLinearConcat": 1, "MaxPool": 1, "QLinearGlobalAveragePool": 1,
    }  # fmt: skip
    kinds = {node.output[0]: node.op_type for node in onnx.load(path).graph.node}
    assert [kinds[name] for _, name in contents.in_float] == ["HardSwish", "FusedGemm"]
    image = {"image": np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)}
    found, wanted = TARGET.open(path).run(image)["output"], of_model(result)(image)["output"]
    np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max())


def test_a_float_file_computes_in_float(tmp_path: Path) -> None:
    contents = TARGET.describe(TARGET.export(tiny(), tmp_path / "m.onnx"))
    assert not contents.quantized
    # the clips are fused into the convolutions before them
    kinds = Counter(operator for operator, _ in contents.in_float)
    assert kinds == {"FusedConv": 2, "Conv": 1, "Add": 1, "GlobalAveragePool": 1, "Gemm": 1}
    assert contents.operators == {"Conv": 3, "Clip": 2, "Add": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    stored = {tensor.name: tensor for tensor in contents.tensors if tensor.bytes}
    weight = next(tensor for name, tensor in stored.items() if name.startswith("classifier.weight"))
    assert (weight.dtype, weight.shape, weight.bytes, weight.scales) == ("float", (10, 8), 320, ())


def test_zero_points_are_told_as_those_of_signed_codes(tmp_path: Path) -> None:
    stored = {"s": np.float32(0.5), "u": np.uint8(130), "i": np.int8(2)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "u"], ["unsigned"]),
        helper.make_node("DequantizeLinear", ["unsigned", "s", "u"], ["d"]),
        helper.make_node("QuantizeLinear", ["d", "s", "i"], ["signed"]),
        helper.make_node("DequantizeLinear", ["signed", "s", "i"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy"]
    kept = [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    found = {tensor.name: tensor for tensor in TARGET.describe(tmp_path / "m.onnx").tensors}
    assert found["unsigned"].zero_points == found["signed"].zero_points == (2,)
    assert found["unsigned"].scales == (0.5,)


@pytest.mark.parametrize("content", [b"", b"not a model at all"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ParingError) as caught:
        file.contents(path)
    assert caught.value.where == str(path)
