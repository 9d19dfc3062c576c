"""Records carry a unit and are numbers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.record import Origin, Record


def record(**changes: Any) -> Record:
    given_: dict[str, Any] = {
        "stage": "baseline", "metric": "latency", "value": 1.0, "unit": "ms", "device": "cpu", "source": "test",
    }  # fmt: skip
    return Record(**{**given_, **changes})


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(Origin), st.integers(1, 10**9))
def test_json_reads_back_to_the_same_record(value: float, origin: Origin, samples: int) -> None:
    one = record(value=value, origin=origin, samples=samples)
    assert Record.from_json(one.as_json()) == one


@pytest.mark.parametrize("changes", [{"unit": ""}, {"value": float("nan")}, {"value": float("inf")}, {"samples": 0}])
def test_what_is_no_measurement_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="latency of baseline"):
        record(**changes)


def test_another_stage_keeps_the_number() -> None:
    assert record().at("01-finetune") == record(stage="01-finetune")
