"""Transposed convolutions on a microcontroller: of every shape, on integers, as the quantized graph computes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.targets.micro import Micro
from paring.testing.repairs import Images

SHAPES: list[dict[str, Any]] = [
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 1},
]
GROUPED: list[dict[str, Any]] = [
    {"kernel_size": 4, "stride": 2, "padding": 1, "groups": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "groups": 4},
]


class Branches(nn.Module):
    """A transposed convolution of every shape, with a ReLU behind it and without."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.clipped = nn.ModuleList(nn.ConvTranspose2d(4, 4, bias=bias, **shape) for shape in SHAPES)
        self.plain = nn.ModuleList(nn.ConvTranspose2d(4, 4, bias=bias, **shape) for shape in SHAPES[:4])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.first(image).relu()
        return (*(one(x).relu() for one in self.clipped), *(one(x) for one in self.plain))


def written(network: nn.Module, size: tuple[int, int], folder: Path) -> tuple[Model, Path]:
    """The quantized network, and its file."""
    spec = TensorSpec("image", ("batch", 3, *size), layout="NCHW")
    model = probe.model(network.eval(), Source("test"), (spec,))
    assert not [one for one in Micro().check(model) if one.severity == "refuses"]
    context = Context(Images(images(size)), Micro.limits, 0, model, folder)
    config = StaticConfig.model_validate({"calibration": {"samples": 32}})
    made = QuantizeStatic().apply(model, config, context)
    return made, Micro().export(made, folder / "m.micro.tflite")


def images(size: tuple[int, int]) -> Tensor:
    return torch.randn(32, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_they_answer_as_the_quantized_graph(size: tuple[int, int], bias: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made, path = written(Branches(bias), size, tmp_path)
    assert not Micro().describe(path).in_float
    given = {"image": images(size)[:4].numpy()}
    wanted, found = of_model(made)(given), Micro().open(path).run(given)
    for name, values in wanted.items():
        assert np.abs(found[name] - values).max() < 1.01 * np.diff(np.unique(values)).min(), name


@pytest.mark.parametrize("shape", GROUPED)
@pytest.mark.parametrize("bias", [True, False])
def test_those_in_groups_answer_as_the_quantized_graph(shape: dict[str, Any], bias: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 4, bias=bias, **shape), nn.ReLU()
    made, path = written(nn.Sequential(*layers, nn.Conv2d(4, 4, 1)), (7, 5), tmp_path)
    given = {"image": images((7, 5))[:4].numpy()}
    (wanted,), (found,) = of_model(made)(given).values(), Micro().open(path).run(given).values()
    assert np.abs(found - wanted).max() < 1.01 * np.diff(np.unique(wanted)).min()
