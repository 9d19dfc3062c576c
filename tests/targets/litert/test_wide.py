"""Activations of sixteen bits, in LiteRT's interpreter."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Array
from paring.measure.accuracy import sqnr
from paring.measure.answers import of_model
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.targets.litert import LiteRT, flatbuffer
from paring.targets.litert.contents import contents
from paring.testing.models import TinyTask, quantized, tiny

IMAGES = {"image": np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)}


class Between(nn.Module):
    """A layer, what the test is about, and a layer."""

    def __init__(self, what: nn.Module) -> None:
        super().__init__()
        self.first, self.what, self.last = nn.Conv2d(1, 8, 3, padding=1), what, nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.what(self.first(x)).mean((2, 3)))


class Joined(nn.Module):
    """The same twice, one after another in the channels, half of each."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :4], x[:, 4:].cos()], 1)


def made(tmp_path: Path, module: nn.Module, **options: object) -> Model:
    model = replace(tiny(), module=module.eval())
    config = {"activations": "int16", "calibration": {"samples": 32}, "ladder": None, **options}
    context = Context(TinyTask(), LiteRT.limits, 0, model, tmp_path / "work")
    return QuantizeStatic().apply(model, StaticConfig.model_validate(config), context)


def answers(model: Model, path: Path) -> Array:
    return LiteRT().open(LiteRT().export(model, path)).run(IMAGES)["output"]


def test_a_network_runs_in_sixteen_bits_throughout(tmp_path: Path) -> None:
    model = quantized("int16")
    assert "slower than with wider numbers" in model.history[-1].changed
    found = answers(model, tmp_path / "m.tflite")
    wanted = of_model(model)(IMAGES)["output"]
    file = contents((tmp_path / "m.tflite").read_bytes())
    assert not file.in_float
    assert {one.dtype for one in file.tensors if one.scales and not one.bytes} == {"int16"}
    assert sqnr(wanted, found) > 70  # 8 bits give 40 at most


@pytest.mark.parametrize(
    ("what", "in_float"),
    [
        (nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.ReLU()), []),
        (nn.Sequential(nn.Sigmoid(), nn.AvgPool2d(2)), []),
        (nn.Hardswish(), ["HARD_SWISH"]),
        (nn.GELU(), ["GELU"]),
    ],
)
def test_int8_and_int16_layers_meet(tmp_path: Path, what: nn.Module, in_float: list[str]) -> None:
    torch.manual_seed(0)
    model = made(tmp_path, Between(what), layers={"first": {"activations": "int8"}})
    found = answers(model, tmp_path / "m.tflite")
    file = contents((tmp_path / "m.tflite").read_bytes())
    assert [name for name, _ in file.in_float] == in_float
    assert "COS" not in file.operators
    assert {"int8", "int16"} <= {one.dtype for one in file.tensors if one.scales and not one.bytes}
    assert sqnr(of_model(model)(IMAGES)["output"], found) > 45


def test_biases_have_the_width_of_the_sums(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = made(tmp_path, Between(nn.Conv2d(8, 8, 1)), layers={"first": {"activations": "int8"}})
    file = flatbuffer.read(LiteRT().export(model, tmp_path / "m.tflite").read_bytes())
    graph, widths = file.subgraphs[0], []
    for operator in graph.operators:
        if flatbuffer.builtin(file, operator) in (
            schema.BuiltinOperator.CONV_2D,
            schema.BuiltinOperator.FULLY_CONNECTED,
        ):
            widths.append(tuple(graph.tensors[int(operator.inputs[i])].type for i in (0, 2)))
    assert set(widths) == {(schema.TensorType.INT16, schema.TensorType.INT64)}


@pytest.mark.parametrize("activations", ["float32", "int8"])
def test_a_cosine_of_the_networks_own_stays(tmp_path: Path, activations: str) -> None:
    torch.manual_seed(0)
    module = Between(Joined())
    model = replace(tiny(), module=module.eval())
    if activations == "int8":
        model = made(tmp_path, module, activations="int8")
    found = answers(model, tmp_path / "m.tflite")
    assert contents((tmp_path / "m.tflite").read_bytes()).operators["COS"] == 1
    assert sqnr(of_model(model)(IMAGES)["output"], found) > 30


def test_a_network_with_a_cosine_is_refused(tmp_path: Path) -> None:
    model = made(tmp_path, Between(Joined()))
    with pytest.raises(ParingError, match="cosine"):
        LiteRT().export(model, tmp_path / "m.tflite")
    assert not (tmp_path / "m.tflite").exists()
