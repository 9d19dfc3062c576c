"""Networks for the targets that take full-int8 files, and their way there."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakKeyDictionary

import torch
from torch import nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.load import probe
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.targets.int8 import INT8_ALONE
from paring.testing.repairs import Images

SHAPE = (3, 8, 8)


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As many channels as there were."""
        shares: torch.Tensor = self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return x * shares


class Sine(nn.Module):
    """sin(x), which no rule makes integers of."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return x.sin()


def model(*layers: nn.Module) -> Model:
    """Layers in a row, on small images, with drawn weights."""
    return probe.model(nn.Sequential(*layers).eval(), Source("test"), (TensorSpec.of("image", SHAPE),))


@cache
def sine_and_squeeze() -> Model:
    """A sine, which stays in float, and squeeze and excitation, which does not."""
    torch.manual_seed(0)
    return model(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), Sine(), Squeeze(8),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


@cache
def flattened() -> Model:
    """A sine, which stays in float, and an image that is flattened, which turns it."""
    torch.manual_seed(0)
    return model(
        nn.Conv2d(3, 8, 3, padding=1), Sine(), nn.Conv2d(8, 8, 1), nn.Hardswish(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * 4 * 4, 5), nn.Softmax(1),
    )  # fmt: skip


@cache
def activated() -> Model:
    """Activations that become several operators on integers."""
    torch.manual_seed(0)
    return model(
        nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 8, 1), nn.Hardsigmoid(), nn.Conv2d(8, 8, 1), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


_made: "WeakKeyDictionary[nn.Module, Model]" = WeakKeyDictionary()


def made(given: Model) -> Model:
    """The model, quantized to int8 with ranges of random images; the same one for the same model."""
    if given.module not in _made:
        images = torch.randn(4, *given.inputs[0].sized(1)[1:])
        with TemporaryDirectory() as folder:
            context = Context(Images(images), INT8_ALONE, 0, given, Path(folder))
            config = StaticConfig(calibration=Calibration(samples=4))
            _made[given.module] = QuantizeStatic().apply(given, config, context)
    return _made[given.module]
