"""Operators between two convolutions each, side by side in one network: what a runtime makes of each."""

from collections.abc import Callable, Mapping
from math import inf, log10
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Array, Limits, Target
from paring.load import probe
from paring.measure.answers import of_model
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.testing.repairs import EVERY, Images

CHANNELS, SIZE = 8, 8
Between = Callable[[Tensor], Tensor]


class Branches(nn.Module):
    """Takes an image of 3 × 8 × 8; each operator is given 8 × 8 × 8, and its answer goes through a convolution."""

    def __init__(self, operators: Mapping[str, Between]) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Conv2d(3, CHANNELS, 3, padding=1) for _ in operators)
        self.layers = nn.ModuleList(one for one in operators.values() if isinstance(one, nn.Module))
        self.operators = list(operators.values())
        with torch.no_grad():
            widths = [one(torch.zeros(2, CHANNELS, SIZE, SIZE)).shape[1] for one in self.operators]
        self.last = nn.ModuleList(nn.Conv2d(width, 4, 1) for width in widths)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """An answer for each operator."""
        return tuple(
            last(between(first(image)))
            for first, between, last in zip(self.first, self.operators, self.last, strict=True)
        )


class Stored(nn.Module):
    """An operator with a tensor of the network's own beside what it is given."""

    def __init__(self, of: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.own, self.of = nn.Parameter(torch.rand(*shape) + 0.1), of

    def forward(self, given: Tensor) -> Tensor:
        """The operator's answer."""
        return self.of(given, self.own)


def samples() -> Tensor:
    """Images to calibrate on and to compare with."""
    return torch.randn(16, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def between(operators: Mapping[str, Between], folder: Path, *, int8: bool) -> Model:
    """A model of the operators with drawn weights, of int8 by `quantize.static` or of floats."""
    torch.manual_seed(0)
    spec = TensorSpec("image", ("batch", 3, SIZE, SIZE), "float32", "NCHW")
    model = probe.model(Branches(operators).eval(), Source("test"), (spec,))
    if not int8:
        return model
    config = StaticConfig(calibration=Calibration(samples=16), ladder=None)
    return QuantizeStatic().apply(model, config, Context(Images(samples()), Limits(EVERY, EVERY), 0, model, folder))


def agreement(target: Target, model: Model, operators: Mapping[str, Between], path: Path) -> dict[str, float]:
    """Operator -> how well its file answers as its model does, in dB: 60 is a relative error of 0.001."""
    images = {"image": samples().numpy()}
    runner = target.open(target.export(model, path / f"m{target.suffix}"))
    pairs = zip(operators, of_model(model)(images).values(), runner.run(images).values(), strict=True)
    return {name: _decibels(wanted, found) for name, wanted, found in pairs}


def _decibels(wanted: Array, found: Array) -> float:
    if wanted.shape != found.shape:
        return -inf
    error = float(np.linalg.norm(wanted.astype(float) - found.astype(float)))
    return -20 * log10(max(error / float(np.linalg.norm(wanted.astype(float))), 1e-12))
