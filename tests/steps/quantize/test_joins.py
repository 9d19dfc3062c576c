"""Joins of ranges that differ widely keep the narrow ones apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Limits
from paring.load import probe
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.targets import TARGETS
from paring.testing.repairs import EVERY, Images

SHAPE = (3, 8, 8)


class Heads(nn.Module):
    """Boxes up to some hundreds and scores up to 1, and what is done with them."""

    def __init__(self, end: Callable[["Heads", Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.boxes, self.scores = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 3, 1)
        self.last, self.norm = nn.Conv2d(7, 4, 1), nn.BatchNorm2d(7)
        self.boxes.weight.data *= 250
        self.boxes.bias.data = torch.tensor([300.0, 310, 330, 340])
        self.scores.weight.data *= 6
        self.end = end

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image).relu()
        return self.end(self, self.boxes(h), self.scores(h).sigmoid())


def joined(net: Heads, boxes: Tensor, scores: Tensor) -> Tensor:
    return torch.cat([boxes, scores], 1)


def joined_and_moved(net: Heads, boxes: Tensor, scores: Tensor) -> Tensor:
    return torch.cat([scores, boxes], 1).flatten(2).transpose(1, 2) * 0.5


def taken_apart(net: Heads, boxes: Tensor, scores: Tensor) -> Tensor:
    return torch.cat([boxes, scores], 1)[:, 4:]


def read_evenly(net: Heads, boxes: Tensor, scores: Tensor) -> Tensor:
    return net.last(torch.cat([boxes, scores], 1).relu())  # type: ignore[no-any-return]


def read_each(net: Heads, boxes: Tensor, scores: Tensor) -> Tensor:
    return net.norm(torch.cat([boxes, scores], 1))  # type: ignore[no-any-return]


def loaded(end: Callable[[Heads, Tensor, Tensor], Tensor]) -> tuple[Model, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(16, *SHAPE)
    net = Heads(end)
    net.norm.running_mean = torch.tensor([300.0, 310, 330, 340, 0.5, 0.5, 0.5])
    net.norm.running_var = torch.tensor([900.0] * 4 + [0.1] * 3)
    return probe.model(net.eval(), Source("test"), (TensorSpec.of("image", SHAPE),)), x


def quantized(model: Model, x: Tensor, folder: Path, limits: Limits | None = None) -> Model:
    config = StaticConfig.model_validate({"calibration": {"samples": len(x)}})
    return QuantizeStatic().apply(model, config, Context(Images(x), limits or Limits(EVERY, EVERY), 0, model, folder))


def error(wanted: Tensor, found: Tensor, axis: int) -> float:
    """The largest error of a channel, of the channel's norm."""
    wanted, found = (one.movedim(axis, 0).flatten(1) for one in (wanted, found))
    return float(((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max())


@pytest.mark.parametrize(
    ("end", "axis", "apart"),
    [(joined, 1, True), (joined_and_moved, 2, True), (taken_apart, 1, True), (read_each, 1, True),
     (read_evenly, 1, False)],
)  # fmt: skip
def test_every_channel_keeps_its_numbers(end: Any, axis: int, apart: bool, tmp_path: Path) -> None:
    model, x = loaded(end)
    found = quantized(model, x, tmp_path)
    (wanted,), (got,) = model({"image": x}).values(), found({"image": x}).values()
    assert error(wanted, got, axis) < 0.05
    told = [one for one in found.history[-1].skipped if "differ too much for one scale" in one.reason]
    assert bool(told) == apart


def test_targets_without_float_are_refused(tmp_path: Path) -> None:
    model, x = loaded(joined)
    with pytest.raises(ParingError, match="ranges that differ more than 16-fold"):
        quantized(model, x, tmp_path, Limits(frozenset({"int8"}), frozenset({"int8"})))


@pytest.mark.parametrize("target", ["litert", "onnxruntime"])
def test_files_keep_the_scores(target: str, tmp_path: Path) -> None:
    model, x = loaded(joined)
    found = quantized(model, x, tmp_path)
    runtime: Any = TARGETS.load(target)()
    path = runtime.export(found, tmp_path / f"m{runtime.suffix}", runtime.Options())
    (got,) = runtime.open(path).run({"image": x.numpy()}).values()
    (wanted,) = found({"image": x}).values()
    assert error(wanted, torch.from_numpy(got), 1) < 0.02
