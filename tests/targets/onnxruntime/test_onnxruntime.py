"""The target `onnxruntime` keeps the contract."""

import pytest

from paring.core.target import Target
from paring.targets.onnxruntime import ONNXRuntime
from paring.testing.targets import TargetContract


class TestONNXRuntime(TargetContract):
    @pytest.fixture
    def target(self) -> Target:
        return ONNXRuntime()
