"""A file without the scales that a model promised is noticed."""

from dataclasses import replace

import pytest

from paring.core.errors import ParingError
from paring.core.model import Invariant, Model
from paring.targets import scales
from paring.testing.models import tiny


def promised(*values: list[float]) -> Model:
    return replace(tiny(), invariants=tuple(Invariant("scale", f"layer{i}", value) for i, value in enumerate(values)))


def test_scales_as_float32_holds_them_are_the_same() -> None:
    scales.require(promised([0.1, 0.2], [3.0]), [(3.0,), (0.10000000149011612, 0.20000000298023224)], "here")


@pytest.mark.parametrize("stored", [[], [(0.1,)], [(0.2, 0.1)], [(0.1, 0.2001)]])
def test_a_lost_or_changed_scale_names_its_layer(stored: list[tuple[float, ...]]) -> None:
    with pytest.raises(ParingError, match=r"1 quantized layers.*layer0") as caught:
        scales.require(promised([0.1, 0.2]), stored, "here")
    assert caught.value.where == "here"


def test_other_invariants_are_not_asked_for() -> None:
    scales.require(replace(tiny(), invariants=(Invariant("sparsity", "layer", 0.5),)), [], "here")
