import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.report import human


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (812, "812 B"), (1024, "1.00 KiB"), (391_168, "382 KiB"), (2_913_840, "2.78 MiB"), (3e9, "2.79 GiB")],
)
def test_size(value, text):
    assert human.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (42, "42"), (999, "999"), (2.5, "2.50"), (590_234, "590 k"), (9_600, "9.6 k"),
        (5_312_000, "5.3 M"), (19_400_000, "19.4 M"), (999_960, "1.0 M"), (4.1e9, "4.1 G"),
    ],
)  # fmt: skip
def test_count(value, text):
    assert human.count(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (0.84, "0.8 s"), (9.97, "10 s"), (59.6, "1 min 00 s"), (134, "2 min 14 s"), (3900, "1 h 05 min")],
)
def test_duration(seconds, text):
    assert human.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "spread", "text"),
    [
        (91.253, "%", 0.4217, "91.25 ± 0.42 %"),
        (100.0, "%", 0.0189, "100.00 ± 0.02 %"),
        (91.253, "%", None, "91.25 %"),
        (3.41234, "ms", 0.0512, "3.412 ± 0.051 ms"),
        (3.41234, "ms", 0.0, "3.41 ± 0 ms"),
        (341.234, "ms", 21.0, "341 ± 21 ms"),
        (0.0123456, "ms", None, "0.0123 ms"),
        (2_913_840, "bytes", 10_240, "2.7789 ± 0.0098 MiB"),
        (0.5672, "1", None, "0.567"),
        (-0.3, "pt", None, "-0.300 pt"),
    ],
)
def test_quantity(value, unit, spread, text):
    assert human.quantity(value, unit, spread) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.0, "ms", "2 ms"),
        (0.75, "pt", "0.75 pt"),
        (400 * 1024, "bytes", "400 KiB"),
        (100, "ms", "100 ms"),
        (0, "%", "0 %"),
    ],
)
def test_a_budget_has_no_zeros_at_its_end(value, unit, text):
    assert human.budget(value, unit) == text


@given(st.floats(-1e15, 1e15), st.sampled_from(["ms", "%", "bytes", "1"]), st.none() | st.floats(0, 1e15))
def test_any_number_can_be_shown(value, unit, spread):
    text = human.quantity(value, unit, spread)
    assert "e" not in text.replace("bytes", "")


@pytest.mark.parametrize(
    ("iso", "text"),
    [
        ("2026-11-04T14:03:11+00:00", "4 November 2026, 14:03 UTC"),
        ("2026-11-04T14:03:11", "4 November 2026, 14:03"),
        ("yesterday", "yesterday"),
    ],
)
def test_moment(iso, text):
    assert human.moment(iso) == text


def test_no_name_steers_a_terminal():
    assert human.printable("a\x1b[31m\nb\x07 µ") == "a\ufffd[31m\ufffdb\ufffd µ"
