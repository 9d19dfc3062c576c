"""What is said of a network whose ranges are known."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Limits
from paring.core.task import Batch
from paring.load import probe
from paring.steps.quantize.static import QuantizeStatic, StaticConfig

_NUMBERS = frozenset({"float32", "int8"})


class Samples:
    """Inputs as they are given, all of one class; contract: `paring.core.task.Task`."""

    name = identity = "samples"

    def __init__(self, inputs: Tensor, labels: tuple[str, ...] = ()) -> None:
        self.drawn, self.labels = inputs, labels
        self.inputs = (TensorSpec.of("x", tuple(inputs.shape[1:]), str(inputs.dtype)[6:]),)

    def size(self, split: str) -> int:
        return len(self.drawn)

    def batches(self, split: str, size: int, *, limit: int | None = None, **_):
        for part in self.drawn[:limit].split(size):
            yield Batch({"x": part}, torch.zeros(len(part), dtype=torch.int64))


def said(module: nn.Module, inputs: Tensor, tmp_path: Path, labels: tuple[str, ...] = (), **options) -> str:
    task = Samples(inputs, labels)
    model = probe.model(module.eval(), Source("case"), task.inputs)
    config = StaticConfig(calibration={"samples": len(inputs)}, ladder=None, **options)
    context = Context(task, Limits(_NUMBERS, _NUMBERS), 0, model, tmp_path)
    found: Model = QuantizeStatic().apply(model, config, context)
    return found.history[-1].changed


def kelvin(count: int = 32) -> Tensor:
    return torch.linspace(290, 300, count * 4).reshape(count, 4)


def test_an_input_far_from_zero_is_told_with_the_codes_that_it_uses(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert "290 … 300 and uses 8.5 of 256 codes" in said(net, kelvin(), tmp_path)
    assert "codes" not in said(net, kelvin() - 295, tmp_path)
    assert "codes" not in said(net, (kelvin() - 290) / 10, tmp_path, symmetric=True)


class Distances(nn.Module):
    """The end of a detector: the mean of a distribution for each edge of a box."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.stem, self.way = nn.Linear(8, 4 * 16), way
        self.mean = nn.Conv2d(16, 1, 1, bias=False)
        self.register_buffer("steps", torch.arange(16.0))
        with torch.no_grad():
            self.mean.weight.copy_(self.steps.reshape(1, 16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        spread = self.stem(x).reshape(-1, 4, 16)
        if self.way == "conv":
            return self.mean(spread.softmax(2).transpose(1, 2).unsqueeze(3)).flatten(1)
        if self.way == "mul":
            return (spread.softmax(2) * self.steps).sum(2)
        return spread.softmax(2) @ spread.transpose(1, 2)  # attention: nothing is stored


@pytest.mark.parametrize(("way", "expected"), [("conv", True), ("mul", True), ("attention", False)])
def test_a_mean_of_a_distribution_is_better_in_float(way: str, expected: bool, tmp_path: Path) -> None:
    assert ("weighs the softmax" in said(Distances(way), torch.randn(16, 8), tmp_path)) is expected


class Tied(nn.Module):
    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, 16), nn.Linear(16, 20, bias=False)
        if shared:
            self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table(x).mean(1))


@pytest.mark.parametrize("shared", [True, False])
def test_a_table_that_a_file_holds_twice_is_told(shared: bool, tmp_path: Path) -> None:
    told = said(Tied(shared), torch.randint(0, 2, (16, 5)), tmp_path)
    assert ("table and head share one table" in told) is shared


def test_classes_without_a_calibration_sample_are_named(tmp_path: Path) -> None:
    net, inputs = nn.Sequential(nn.Linear(4, 3)), torch.randn(8, 4)
    assert "2 of 3 classes have no calibration sample (dog, bird)" in said(
        net, inputs, tmp_path, ("cat", "dog", "bird")
    )
    assert "no calibration sample" not in said(net, inputs, tmp_path)
