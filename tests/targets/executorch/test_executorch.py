"""The target `executorch` keeps the contract."""

import pytest

from paring.core.target import Target
from paring.targets.executorch import ExecuTorch
from paring.testing.targets import TargetContract


class TestExecuTorch(TargetContract):
    @pytest.fixture
    def target(self) -> Target:
        return ExecuTorch()
