"""The target `litert` keeps the contract, and what is its own."""

import pytest

from paring.core.target import Target
from paring.targets.litert import LiteRT
from paring.testing.targets import TargetContract


class TestLiteRT(TargetContract):
    @pytest.fixture
    def target(self) -> Target:
        return LiteRT()
