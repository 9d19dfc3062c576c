"""Pads go into the convolutions behind them, where the answers stay."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import ExportOptions
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask
from paring.testing.repairs import Images

TARGET = LiteRT()
IMAGES = {"image": np.random.default_rng(0).normal(size=(8, 1, 8, 8)).astype(np.float32)}


def _operators(folder: Path, *layers: nn.Module, int8: bool = True) -> dict[str, int]:
    """Of the file of some layers behind a convolution, which answers as PyTorch does."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU6(), *layers, nn.Flatten(), nn.LazyLinear(10)
        ).eval()
        network(torch.zeros(1, 1, 8, 8))
    model: Model = probe.model(network, Source("test"), (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),))
    if int8:
        context = Context(TinyTask(), TARGET.limits, 0, model, folder)
        model = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=32)), context)
    path = TARGET.export(model, folder / "m.tflite")
    wanted, found = of_model(model)(IMAGES)["output"], TARGET.open(path).run(IMAGES)["output"]
    step = np.diff(np.unique(wanted)).min() if int8 else 0.0
    np.testing.assert_allclose(found, wanted, atol=1e-5 + 2.01 * step)
    return dict(TARGET.describe(path).operators)


def _strided(kernel: int, groups: int = 8) -> nn.Module:
    return nn.Conv2d(8, 8, kernel, stride=2, groups=groups)


@pytest.mark.parametrize("int8", [False, True])
def test_the_padding_that_tensorflow_calls_same_goes_into_the_convolution(int8: bool, tmp_path: Path) -> None:
    first = (nn.ZeroPad2d((0, 1, 0, 1)), _strided(3), nn.ReLU6())
    second = (nn.ZeroPad2d((1, 2, 1, 2)), _strided(5, groups=1), nn.ReLU6())
    found = _operators(tmp_path, *first, *second, int8=int8)
    assert "PAD" not in found
    assert found.get("TRANSPOSE", 0) <= 1  # before the matrix


@pytest.mark.parametrize("padding", [(1, 0, 1, 0), (0, 1, 0, 3)])
def test_other_padding_stays(padding: tuple[int, ...], tmp_path: Path) -> None:
    assert _operators(tmp_path, nn.ZeroPad2d(padding), _strided(3), nn.ReLU6())["PAD"] == 1


def test_what_something_else_reads_too_stays(tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pad, self.second = nn.ZeroPad2d((0, 1, 0, 1)), _strided(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pad(x)
            found: torch.Tensor = torch.relu(self.second(x)) + x[:, :, :4, :4]
            return found

    assert _operators(tmp_path, Both())["PAD"] >= 1


def test_an_image_that_a_shortcut_reads_too_is_padded_by_the_convolution(tmp_path: Path) -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pad, self.second = nn.ZeroPad2d((0, 1, 0, 1)), _strided(3, groups=1)
            self.shortcut = nn.Conv2d(8, 8, 1, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = torch.relu(self.second(self.pad(x)) + self.shortcut(x))
            return found

    found = _operators(tmp_path, Shortcut())
    assert "PAD" not in found
    assert found.get("TRANSPOSE", 0) <= 1  # before the matrix


@pytest.mark.parametrize("size", [(8, 8), (9, 6)])
def test_an_image_of_one_channel_is_padded_by_the_convolution(size: tuple[int, int], tmp_path: Path) -> None:
    """The converter turns it round by reshaping it."""
    high, wide = size
    same = nn.ZeroPad2d((0, 1, 1, 2) if size == (8, 8) else (0, 1, 2, 2))
    torch.manual_seed(0)
    network = nn.Sequential(same, nn.Conv2d(1, 6, (5, 3), stride=2), nn.ReLU()).eval()
    spec = TensorSpec("image", ("batch", 1, high, wide), "float32", "NCHW")
    model = probe.model(network, Source("test"), (spec,))
    images = torch.randn(32, 1, high, wide)
    context = Context(Images(images), TARGET.limits, 0, model, tmp_path)
    model = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=32)), context)
    path = TARGET.export(model, tmp_path / "m.tflite", ExportOptions(layout="NHWC"))
    operators = TARGET.describe(path).operators
    assert "PAD" not in operators
    assert operators.get("RESHAPE", 0) == 0
    given = {"image": images[:8].numpy()}
    wanted, found = of_model(model)(given)["output"], TARGET.open(path).run(given)["output"]
    np.testing.assert_allclose(found, wanted, atol=1e-5 + 1.01 * np.diff(np.unique(wanted)).min())
