"""A quantized network that is built again from its float one answers the same, to the last bit."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Context
from paring.core.target import Limits
from paring.load import probe
from paring.steps.quantize import fixed
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.testing.repairs import EVERY, Images

SHAPE = (3, 8, 8)


class Shared(nn.Module):
    """One convolution with a norm for each level, and a write into a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.norms = nn.Conv2d(3, 8, 3, padding=1), nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = []
        for norm, x in zip(self.norms, (image, nn.functional.avg_pool2d(image, 2)), strict=True):
            z = norm(self.head(x)).relu()
            z[:, :4] += z[:, 4:]
            found.append(self.last(z))
        return tuple(found)


class Joined(nn.Module):
    """Ranges that differ widely, joined in float."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.far, self.near = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 3, 1)
        self.far.weight.data *= 500

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image).relu()
        return torch.cat([self.far(h), self.near(h).sigmoid()], 1)


def normed() -> nn.Module:
    """Weights that are computed, and a batch norm behind them."""
    first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    return nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def loaded(module: nn.Module) -> Model:
    return probe.model(module.eval(), Source("test"), (TensorSpec.of("image", SHAPE),))


def quantized(model: Model, x: Tensor, folder: Path, **options: Any) -> Model:
    config = StaticConfig.model_validate({"calibration": {"samples": len(x)}, **options})
    return QuantizeStatic().apply(model, config, Context(Images(x), Limits(EVERY, EVERY), 0, model, folder))


@pytest.mark.parametrize("make", [Shared, Joined, normed])
def test_replay(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(16, *SHAPE)
    model = loaded(make())
    found = quantized(model, x, tmp_path)
    other = deepcopy(model.module)
    with torch.no_grad():
        for tensor in [*other.parameters(), *other.buffers()]:
            tensor.add_(1)
    again = fixed.replay(replace(model, module=other), found.edits[-1].data)
    again.load_state_dict(found.module.state_dict())
    for wanted, got in zip(
        found({"image": x}).values(), replace(found, module=again)({"image": x}).values(), strict=True
    ):
        assert torch.equal(wanted, got)
