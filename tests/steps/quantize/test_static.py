"""`quantize.static` keeps the contract of steps."""

import pytest

from paring.core.step import Step, StepConfig
from paring.steps.quantize.static import Calibration, QuantizeStatic, StaticConfig
from paring.testing.steps import StepContract


class TestQuantizeStatic(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return QuantizeStatic()

    @pytest.fixture(params=["minmax", "mse"])
    def config(self, request: pytest.FixtureRequest) -> StepConfig:
        return StaticConfig(calibration=Calibration(method=request.param, samples=64))
