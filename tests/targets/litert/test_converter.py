"""What the converter gets wrong comes out right."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
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


class Net(nn.Module):
    """Convolutions, each followed by one of some functions of its answer and a stored tensor."""

    def __init__(self, functions: list[Callable[[Tensor, Tensor], Tensor]], *stored: Tensor) -> None:
        super().__init__()
        self.functions = functions
        self.convs = nn.ModuleList(nn.Conv2d(1, 4, 3, padding=1) for _ in range(len(functions) * len(stored)))
        for position, tensor in enumerate(stored):
            self.register_buffer(f"stored{position}", tensor)
        self.count = len(stored)

    def forward(self, image: Tensor) -> Tensor:
        convs = iter(self.convs)
        answers = [
            function(getattr(self, f"stored{position}"), next(convs)(image))
            for function in self.functions
            for position in range(self.count)
        ]
        return torch.cat([answer.flatten(1) for answer in answers], 1)


def _model(network: nn.Module) -> Model:
    return probe.model(network.eval(), Source("test"), (TensorSpec("image", ("batch", 1, 8, 8), "float32", "NCHW"),))


def _answers_as_torch(model: Model, folder: Path) -> None:
    wanted = of_model(model)(IMAGES)["output"]
    found = TARGET.open(TARGET.export(model, folder / "m.tflite")).run(IMAGES)["output"]
    np.testing.assert_allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE * np.abs(wanted).max())


def _tensors() -> tuple[Tensor, Tensor, Tensor]:
    """For all values, for each channel, for each value."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.tensor(1.5),
        torch.rand(4, 1, 1, generator=generator) + 1,
        torch.rand(1, 4, 8, 8, generator=generator) + 1,
    )


def test_operands_keep_their_order_where_a_transposition_is_carried_past(tmp_path: Path) -> None:
    functions: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda stored, x: stored - x,
        lambda stored, x: 1 - x * stored,
        lambda stored, x: stored.expand_as(x) - x,
        lambda stored, x: stored / (x.abs() + 1),
        lambda stored, x: ((x.abs() + 1) / stored).reciprocal(),
    ]
    _answers_as_torch(_model(Net(functions, *_tensors())), tmp_path)


@pytest.mark.parametrize("kind", ["spread out", "every second value", "turned"])
def test_stored_tensors_that_are_views_keep_their_values(kind: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    views = {
        "spread out": lambda: torch.randn(1, 8, generator=generator).expand(8, 8),
        "every second value": lambda: torch.randn(16, 16, generator=generator)[::2, ::2],
        "turned": lambda: torch.randn(8, 8, generator=generator).T,
    }
    stored = [views[kind]() for _ in range(4)]
    functions: list[Callable[[Tensor, Tensor], Tensor]] = [lambda stored, x: stored * x + torch.relu(x)]
    _answers_as_torch(_model(Net(functions, *stored)), tmp_path)


def test_what_is_infinite_stays_so_in_the_model(tmp_path: Path) -> None:
    model = _model(Net([lambda stored, x: torch.maximum(x, stored)], torch.full((4, 8, 8), -torch.inf)))
    _answers_as_torch(model, tmp_path)
    assert torch.isinf(model.module.get_buffer("stored0")).all()


def test_equal_biases_have_the_codes_of_their_channels(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(256, 3))
    for layer in (network[0], network[2]):
        nn.init.constant_(layer.bias, -4.6)
        layer.weight.data.mul_(torch.logspace(0, 1, len(layer.weight)).reshape(-1, *[1] * (layer.weight.ndim - 1)))
    model = _model(network)
    context = Context(TinyTask(), TARGET.limits, 0, model, tmp_path)
    model = QuantizeStatic().apply(model, StaticConfig(calibration=Calibration(samples=32)), context)
    wanted = of_model(model)(IMAGES)["output"]
    found = TARGET.open(TARGET.export(model, tmp_path / "m.tflite")).run(IMAGES)["output"]
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize("turned", [False, True])
def test_a_sigmoid_stays_one_operator(turned: bool, tmp_path: Path) -> None:
    def sigmoid(_: Tensor, x: Tensor) -> Tensor:
        return (x.permute(0, 2, 3, 1) if turned else x).sigmoid()

    def gentle(_: Tensor, x: Tensor) -> Tensor:
        return 2 / (1 + x.permute(0, 2, 3, 1).exp())

    model = _model(Net([sigmoid, gentle], torch.ones(1)))
    _answers_as_torch(model, tmp_path)
    assert TARGET.describe(tmp_path / "m.tflite").operators["LOGISTIC"] == 1
