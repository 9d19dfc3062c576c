"""`quantize.static` with repairs keeps the contract of steps."""

import pytest

from paring.core.model import Model
from paring.core.step import Context, Step, StepConfig
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.testing.steps import StepContract

COMBINATIONS = [
    ["equalize", {"adaround": {"iterations": 5, "positions": 200}}, "bias_correction"],
    ["bias_correction_analytic", {"brecq": {"iterations": 3}}, "reestimate"],
]


class TestQuantizeStaticWithRepairs(StepContract):
    @pytest.fixture
    def step(self) -> Step:
        return QuantizeStatic()

    @pytest.fixture(params=COMBINATIONS, ids=["layers", "blocks"])
    def config(self, request: pytest.FixtureRequest) -> StepConfig:
        options = {"weights": "int4", "repairs": request.param, "calibration": {"samples": 32}}
        return StaticConfig.model_validate(options)

    def test_what_was_done_is_told(self, result: Model) -> None:
        assert "rounding learned" in result.history[-1].changed

    def test_an_order_that_cannot_be_is_refused(self, step: Step, model: Model, context: Context) -> None:
        from paring.core.errors import ParingError

        config = StaticConfig.model_validate({"repairs": ["adaround", "equalize"], "calibration": {"samples": 8}})
        with pytest.raises(ParingError, match="cannot come after") as caught:
            step.apply(model, config, context)
        assert "equalize, adaround" in caught.value.remedy
