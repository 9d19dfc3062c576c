"""Layers, tensors, inputs and outputs may have any names."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.measure.answers import of_model
from paring.targets.onnxruntime import ONNXRuntime

TARGET = ONNXRuntime()


class Named(nn.Module):
    """A layer and a tensor of these names, with numbers between that become constants."""

    def __init__(self, layer: str, tensor: str) -> None:
        super().__init__()
        self.names = layer, tensor
        setattr(self, layer, nn.Conv2d(1, 4, 1))
        setattr(self, tensor, nn.Parameter(torch.rand(4, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        layer, tensor = (getattr(self, name) for name in self.names)
        values: Tensor = layer(x).relu() * 0.5 + 1
        return values * tensor


@pytest.mark.parametrize(
    ("layer", "tensor"),
    [("c", "c_0"), ("c", "x"), ("x", "output"), ("Relu_1", "scale"), ("mul", "val_0"), ("c_1", "mul_1"), ("a_1", "a")],
)
def test_a_name_changes_no_answer(layer: str, tensor: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    specs = (TensorSpec("x", ("batch", 1, 4, 4), "float32", "NCHW"),)
    model = probe.model(Named(layer, tensor).eval(), Source("test"), specs)
    path = TARGET.export(model, tmp_path / "m.onnx")
    image = {"x": np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32)}
    np.testing.assert_allclose(
        TARGET.open(path).run(image)["output"], of_model(model)(image)["output"], rtol=1e-4, atol=1e-5
    )
    graph = onnx.load(path).graph
    names = [tensor.name for tensor in graph.initializer] + [name for node in graph.node for name in node.output]
    assert len({*names, "x"}) == len(names) + 1
