"""The target `openvino` keeps the contract."""

from typing import ClassVar

import pytest

from paring.core.target import Target
from paring.targets.openvino import OpenVINO
from paring.testing.targets import TargetContract


class TestOpenVINO(TargetContract):
    parts: ClassVar[tuple[str, ...]] = ("model.xml", "model.bin")

    @pytest.fixture
    def target(self) -> Target:
        return OpenVINO()
