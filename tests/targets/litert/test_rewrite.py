"""What the converter has no form for gets one, with the same answers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.litert import LiteRT
from paring.testing.models import TinyTask

TARGET = LiteRT()
IMAGES = {"image": np.random.default_rng(0).normal(size=(8, 1, 8, 8)).astype(np.float32)}
_CLOSE = 1e-5  # relative
TRANSPOSED: list[dict[str, Any]] = [
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": 4, "stride": 2, "padding": 1, "output_padding": 1},
    {"kernel_size": 2, "stride": 3, "output_padding": 2},
    {"kernel_size": (5, 4), "stride": (3, 1), "padding": (2, 0), "output_padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "padding": 2, "dilation": 2, "output_padding": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "groups": 2},
    {"kernel_size": 4, "stride": 2, "padding": 3, "groups": 4, "bias": False},
]


def _model(network: nn.Module) -> Model:
    return probe.model(network.eval(), Source("test"), (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),))


def _apart(model: Model, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    found = TARGET.open(TARGET.export(model, folder / "m.tflite")).run(IMAGES)
    wanted = of_model(model)(IMAGES)
    return tuple(np.concatenate([one[name].ravel() for name in wanted]) for one in (found, wanted))


class Branches(nn.Module):
    """A transposed convolution of every shape, batch norm and ReLU behind each."""

    def __init__(self, *shapes: dict[str, Any]) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(4, 8, **shape), nn.BatchNorm2d(8), nn.ReLU()) for shape in shapes
        )
        self.row = nn.ConvTranspose1d(8, 6, 3, stride=2, padding=1, output_padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        first = self.first(image)
        return (*(branch(first) for branch in self.branches), self.row(image[:, 0]))


def test_transposed_convolutions_of_every_shape(tmp_path: Path) -> None:
    found, wanted = _apart(_model(Branches(*TRANSPOSED)), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE * np.abs(wanted).max())


def test_transposed_convolutions_of_every_shape_on_integers(tmp_path: Path) -> None:
    shapes = [shape for shape in TRANSPOSED if "groups" not in shape]
    network = Branches(*shapes)
    network.row = nn.Identity()
    model = _model(network)
    context = Context(TinyTask(), TARGET.limits, 0, model, tmp_path)
    model = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=32)), context)
    found, wanted = _apart(model, tmp_path)
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    assert "CONV_2D" in TARGET.describe(tmp_path / "m.tflite").quantized
    assert not TARGET.describe(tmp_path / "m.tflite").in_float


def test_sums_with_a_factor(tmp_path: Path) -> None:
    class Net(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            other = image.sigmoid()
            return (torch.add(image, other, alpha=3), torch.sub(image, other, alpha=0.5), torch.rsub(image, other))

    found, wanted = _apart(_model(Net()), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE)


def test_many_outputs_keep_their_places(tmp_path: Path) -> None:
    class Net(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return tuple(image * factor for factor in range(1, 13))

    found, wanted = _apart(_model(Net()), tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=_CLOSE)
