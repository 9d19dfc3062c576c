"""Calibration tells when its ranges mean little."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Limits
from paring.core.task import Batch
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.testing.models import TinyTask, tiny

EVERY = frozenset({"float32", "int8", "int4", "int16"})


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """What the history tells of a calibration on these images."""

    def told(images: Tensor, method: str = "minmax") -> str:
        def batches(self: object, split: str, size: int, limit: int | None = None) -> Iterator[Batch]:
            for part in images[:limit].split(size):
                yield Batch({"image": part}, torch.zeros(len(part), dtype=torch.int64))

        monkeypatch.setattr(TinyTask, "batches", batches)
        model: Model = tiny()
        context = Context(TinyTask(), Limits(EVERY, EVERY), 0, model, tmp_path)
        config = StaticConfig(calibration=Calibration.model_validate({"method": method, "samples": len(images)}))
        return QuantizeStatic().apply(model, config, context).history[-1].changed

    return told


def images(count: int) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)


def test_settled_ranges_are_worth_no_word(calibrated: Callable[..., str]) -> None:
    assert "settled" not in calibrated(images(16).repeat(2, 1, 1, 1))


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_ranges_that_still_move_are_told_with_the_worst_layer(calibrated: Callable[..., str], method: str) -> None:
    still = images(32)
    still[16:] *= 4
    told = calibrated(still, method)
    assert "have not settled" in told
    assert "moved that of" in told
    assert "give more samples" in told


def test_one_sample_is_told(calibrated: Callable[..., str]) -> None:
    assert "a single sample" in calibrated(images(1))


def test_constant_data_are_told(calibrated: Callable[..., str]) -> None:
    assert "calibration data are constant" in calibrated(torch.full((4, 1, 8, 8), 0.5))
