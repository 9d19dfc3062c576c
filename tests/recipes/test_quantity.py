"""Budgets are read in the user's units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.recipes.quantity import Budget, budget


@pytest.mark.parametrize(
    ("name", "text", "limit", "unit"),
    [
        ("accuracy_drop", "1.0 pt", 1.0, "pt"),
        ("accuracy_drop", "0pt", 0.0, "pt"),
        ("latency", "2 ms", 2.0, "ms"),
        ("latency", "500us", 0.5, "ms"),
        ("latency", "1.5 s", 1500.0, "ms"),
        ("size", "400 KiB", 409600.0, "bytes"),
        ("size", "1 MB", 1e6, "bytes"),
        ("peak_memory", "64 MiB", 67108864.0, "bytes"),
    ],
)
def test_units_are_told_apart(name: str, text: str, limit: float, unit: str) -> None:
    assert budget(name, text, "here") == Budget(name, pytest.approx(limit), unit)


@pytest.mark.parametrize(
    ("name", "text"),
    [("latency", "2 KiB"), ("size", "2"), ("size", "0 KiB"), ("latency", "-1 ms"), ("accuracy_drop", "1 %"),
     ("size", "1.2.3 MB"), ("latency", "1e999 ms"), ("accuracy_drop", "-1 pt"), ("size", "")],
)  # fmt: skip
def test_what_nothing_can_keep_to_is_refused(name: str, text: str) -> None:
    with pytest.raises(ParingError, match=name) as caught:
        budget(name, text, "recipe.yaml, line 9")
    assert caught.value.where == "recipe.yaml, line 9"


@given(st.floats(1e-3, 1e6))
def test_a_mebibyte_is_1024_kibibytes(value: float) -> None:
    small, large = budget("size", f"{value * 1024!r} KiB", ""), budget("size", f"{value!r} MiB", "")
    assert small.limit == pytest.approx(large.limit)
