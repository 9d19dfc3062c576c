"""Whether a model has room on a device."""

from typing import Any

import pytest
import torch

from paring.core.device import Device, Number
from paring.core.model import Model
from paring.measure.room import room
from paring.testing.models import quantized, tiny

BOTH: tuple[Number, ...] = ("float32", "int8")


@pytest.fixture(scope="module", params=[tiny, quantized])
def model(request: pytest.FixtureRequest) -> Model:
    made: Model = request.param()
    return made


def told(model: Model, kinds: tuple[Number, ...] = BOTH, **figures: Any) -> list[tuple[str, str]]:
    device = Device.model_validate({"name": "board", "description": "a board", "targets": ["litert"], **figures})
    program = torch.export.export(model.module, (torch.zeros(1, 1, 8, 8),), strict=False)
    return [(one.severity, one.problem) for one in room(model, program, device, kinds)]


def test_a_model_that_fits_is_told_what_it_takes() -> None:
    # 3·3·8, 3·3·8, 8·8 + 8 and 8·10 + 10; the batch norms are folded. The widest place is 8 channels of 4×4 three times
    assert told(tiny(), ram="4 KiB", flash="4 KiB") == [
        ("note", "in float32 weights take at least 1.20 KiB, activations at least 1.50 KiB (estimated)"),
        ("note", "in int8 weights take at least 306 B, activations at least 384 B (estimated)"),
    ]
    ((_, problem),) = told(quantized(), ram="4 KiB")  # whose biases are those of the batch norms
    assert problem == "in int8 weights take at least 322 B, activations at least 384 B (estimated)"


def test_what_cannot_fit_in_any_kind_of_number_refuses(model: Model) -> None:
    for figures, problem in [
        ({"flash": "300 B"}, "the flash holds 300 B"),
        ({"flash": "1 MiB", "ram": "300 B"}, "activations take at least 384 B, the RAM holds 300 B"),
        ({"ram": "600 B"}, "the RAM holds 600 B"),  # weights and activations together
    ]:
        found = told(model, **figures)
        assert [severity for severity, _ in found] == ["refuses"] * (1 if model.quantized else 2)
        assert problem in found[-1][1]


def test_what_fits_in_int8_alone_is_a_note() -> None:
    (in_float, in_int8) = told(tiny(), flash="1 KiB")
    problem = "does not fit in float32: weights take at least 1.20 KiB, the flash holds 1.00 KiB (estimated)"
    assert in_float == ("note", problem)
    assert in_int8[0] == "note"
    assert told(tiny(), ("float32",), flash="1 KiB")[0][0] == "refuses"


def test_weights_beyond_the_accelerators_memory_are_slow() -> None:
    found = told(tiny(), ("int8",), accelerates={"unit": "Edge TPU", "memory": "300 B"})
    assert found[-1][0] == "slow"
    assert "306 B, Edge TPU holds 300 B" in found[-1][1]
