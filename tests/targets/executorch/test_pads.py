"""Pads go into the convolutions behind them, where the answers stay."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.executorch import ExecuTorch
from paring.testing.models import TinyTask

IMAGES = {"image": np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)}


def _model(*layers: nn.Module) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(10)).eval()
        network(torch.zeros(1, 1, 8, 8))
    return probe.model(network, Source("test"), (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),))


def _quantized(model: Model, folder: Path) -> Model:
    context = Context(TinyTask(), ExecuTorch.limits, 0, model, folder)
    return QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=32)), context)


def _pads(model: Model, folder: Path) -> int:
    """How many pads its file has, which answers as the model does."""
    target = ExecuTorch()
    path = target.export(model, folder / "m.pte")
    wanted, found = of_model(model)(IMAGES)["output"], target.open(path).run(IMAGES)["output"]
    step = np.diff(np.unique(wanted)).min() if model.quantized else 0.0
    np.testing.assert_allclose(found, wanted, atol=1e-5 + 2.01 * step)
    return target.describe(path).operators.get("StaticConstantPad", 0)


@pytest.mark.parametrize("padding", [(1, 1, 2, 2), (0, 1, 0, 1), (2, 0, 1, 3)])
@pytest.mark.parametrize("int8", [False, True])
def test_zeros_go_into_the_convolution_behind(padding: tuple[int, ...], int8: bool, tmp_path: Path) -> None:
    model = _model(
        nn.ZeroPad2d(padding), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
        nn.ZeroPad2d(padding), nn.Conv2d(8, 8, 3, stride=2, groups=8), nn.ReLU(),
    )  # fmt: skip
    assert _pads(_quantized(model, tmp_path) if int8 else model, tmp_path) == 0


@pytest.mark.parametrize("int8", [False, True])
def test_what_others_read_too_stays(int8: bool, tmp_path: Path) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pad, self.first, self.second = nn.ZeroPad2d(1), nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.pad(torch.relu(self.first(x)))
            found: torch.Tensor = torch.relu(self.second(x)) + x[:, :, 1:-1, 1:-1]
            return found

    model = _model(Both())
    assert _pads(_quantized(model, tmp_path) if int8 else model, tmp_path) == 1


def test_another_value_stays(tmp_path: Path) -> None:
    assert _pads(_model(nn.ConstantPad2d(1, 3.0), nn.Conv2d(1, 4, 3)), tmp_path) == 1


def test_channels_that_are_added_stay(tmp_path: Path) -> None:
    assert _pads(_model(nn.ConstantPad3d((0, 0, 0, 0, 1, 1), 0.0), nn.Conv2d(3, 4, 3)), tmp_path) == 1


def test_nothing_is_left_behind_in_executorch() -> None:
    from executorch.backends.xnnpack import xnnpack_preprocess

    from paring.targets.executorch import pads

    before = xnnpack_preprocess.serialize_xnnpack_binary
    with pads.fused():
        within = xnnpack_preprocess.serialize_xnnpack_binary
    assert within is not before
    assert xnnpack_preprocess.serialize_xnnpack_binary is before
