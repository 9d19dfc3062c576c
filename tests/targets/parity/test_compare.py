import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paring.targets.parity import compare


def _answers(*sizes: float, samples: int = 4) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(0)
    channels = [size * chance.uniform(0.5, 1.0, (samples, 1, 3, 3)) for size in sizes]
    return {"output": np.concatenate(channels, 1).astype(np.float32)}


def test_equal_answers_do_not_differ() -> None:
    wanted = _answers(1.0, 1.0)
    assert compare.float_difference(wanted, wanted) is None
    assert not compare.quantized_differences(wanted, wanted, {})
    assert compare.largest(wanted, wanted) == 0.0


def test_small_channels_beside_large_ones_are_a_group_of_their_own() -> None:
    wanted = _answers(600.0, 580.0, 1.0, 0.9)
    found = {"output": wanted["output"].copy()}
    found["output"][:, 3] = 0.0  # 60 dB of the whole
    difference = compare.float_difference(found, wanted)
    assert difference is not None
    assert difference.channels == " (channels 2, 3)"
    ((worst, _), *_) = compare.quantized_differences(found, wanted, {})
    assert worst.error < compare.SQNR


def test_features_on_the_last_axis_are_grouped_too() -> None:
    chance = np.random.default_rng(0)
    wanted = chance.uniform(0.5, 1.0, (2, 5, 4)).astype(np.float32) * np.array([300, 300, 300, 1], np.float32)
    found = wanted.copy()
    found[..., 3] = 1.0
    assert compare.quantized_differences({"o": found}, {"o": wanted}, {})


def test_a_rounding_of_the_last_scale_is_none() -> None:
    wanted = {"output": np.zeros((4, 3), np.float32)}
    found = {"output": np.full((4, 3), 0.1, np.float32)}
    found["output"][::2] = 0.0
    assert not compare.quantized_differences(found, wanted, {"output": 0.1})
    assert compare.quantized_differences(found, wanted, {"output": 0.01})


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_what_is_no_number_differs(strange: float) -> None:
    wanted = _answers(1.0)
    found = {"output": wanted["output"].copy()}
    found["output"][0, 0, 0, 0] = strange
    assert compare.float_difference(found, wanted) is not None
    assert compare.quantized_differences(found, wanted, {"output": 1e9})


def test_another_shape_differs() -> None:
    wanted = _answers(1.0)
    found = {"output": wanted["output"][:, :, :2]}
    assert compare.float_difference(found, wanted) is not None
    assert compare.quantized_differences(found, wanted, {"output": 1e9})


@given(st.floats(-60, 60), st.integers(0, 2**31))
def test_sqnr_is_that_of_noise_put_in(decibels: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    wanted = chance.normal(size=(4, 50))
    noise = chance.normal(size=(4, 50))
    noise *= np.linalg.norm(wanted) / np.linalg.norm(noise) * 10 ** (-decibels / 20)
    assert compare.sqnr(wanted, wanted + noise) == pytest.approx(decibels, abs=1e-6)


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=8))
def test_each_channel_belongs_to_one_group(sizes: list[float]) -> None:
    wanted = _answers(*sizes)["output"]
    counted = sum(part.shape[1] for name, part, _ in compare.groups(wanted, wanted) if part.shape[2:] == (3, 3))
    assert counted == len(sizes)
