"""The graph that is lowered answers as the model does, with fewer operators."""

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


def _padded(*padding: int) -> Model:
    torch.manual_seed(0)
    layers = (nn.ZeroPad2d(padding), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
    network = nn.Sequential(*layers, nn.LazyLinear(10)).eval()
    network(torch.zeros(1, 1, 8, 8))
    return probe.model(network, Source("test"), (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),))


@pytest.mark.parametrize(("padding", "left"), [((1, 1, 2, 2), 0), ((0, 1, 0, 1), 1)])
@pytest.mark.parametrize("int8", [False, True])
def test_a_symmetric_pad_goes_into_the_convolution(
    padding: tuple[int, ...], left: int, int8: bool, tmp_path: Path
) -> None:
    model, target = _padded(*padding), ExecuTorch()
    if int8:
        context = Context(TinyTask(), target.limits, 0, model, tmp_path)
        model = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=32)), context)
    path = target.export(model, tmp_path / "m.pte")
    images = {"image": np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)}
    wanted, found = of_model(model)(images)["output"], target.open(path).run(images)["output"]
    step = np.diff(np.unique(wanted)).min() if int8 else 0.0
    np.testing.assert_allclose(found, wanted, atol=1e-5 + 2.01 * step)
    assert target.describe(path).operators.get("StaticConstantPad", 0) == left


def test_padding_with_another_value_stays(tmp_path: Path) -> None:
    network = nn.Sequential(nn.ConstantPad2d(1, 3.0), nn.Conv2d(1, 4, 3)).eval()
    specs = (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),)
    model, target = probe.model(network, Source("test"), specs), ExecuTorch()
    images = {"image": np.ones((2, 1, 8, 8), np.float32)}
    runner = target.open(target.export(model, tmp_path / "m.pte"))
    np.testing.assert_allclose(runner.run(images)["output"], of_model(model)(images)["output"], atol=1e-5)
