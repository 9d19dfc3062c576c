"""The target `executorch` keeps the contract."""

import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Model, Source, TensorSpec
from paring.core.target import Target
from paring.targets.executorch import ExecuTorch
from paring.targets.traced import trace
from paring.testing.targets import TargetContract


class TestExecuTorch(TargetContract):
    @pytest.fixture
    def target(self) -> Target:
        return ExecuTorch()


class Sums(nn.Module):
    """Something that XNNPACK takes around something that it does not."""

    def forward(self, x: Tensor) -> Tensor:
        """float32, shape (batch, 8) -> the same shape."""
        return torch.cumsum(x * 2, -1).relu()


def test_what_xnnpack_does_not_take_is_told() -> None:
    made = Model(Sums().eval(), Source("torch:sums"), (TensorSpec.of("x", (8,)),), (TensorSpec("y", ("batch", 8)),))
    (found,) = ExecuTorch().advise(made, trace(made))
    assert (found.severity, "aten.cumsum" in found.problem) == ("slow", True)
