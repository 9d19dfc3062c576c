import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.load import prove
from paring.load.blueprint import Blueprint, Network, Node

INPUT = TensorSpec("x", ("batch", 3), range=(-2.0, 3.0))
CHAIN = Blueprint(
    ("x",),
    (Node("first", "ReLU", ("x",)), Node("second", "Tanh", ("first",)), Node("third", "Sigmoid", ("second",))),
    ("third",),
)


def values(x):
    first = np.maximum(x, 0)
    second = np.tanh(first)
    return {"first": first, "second": second, "third": 1 / (1 + np.exp(-second))}


def test_samples_are_random_ones_and_both_ends():
    (floats,) = prove.samples([INPUT])
    assert floats.shape == (4, 3)
    assert floats.dtype == np.float32
    assert (floats[2] == -2).all()
    assert (floats[3] == 3).all()
    assert ((floats >= -2) & (floats <= 3)).all()
    (tokens,) = prove.samples([TensorSpec("ids", ("batch", 5), "int64", range=(0, 9))])
    assert tokens.dtype == np.int64
    assert (tokens.min(), tokens.max()) == (0, 9)


def test_what_agrees_is_proved():
    inputs = prove.samples([INPUT])
    found = prove.prove(Network(CHAIN), inputs, [values(inputs[0])["third"]], lambda: pytest.fail("not asked"), "m")
    assert found < 1e-6


@pytest.mark.parametrize("wrong", ["first", "second", "third"])
def test_the_first_layer_that_differs_is_named(wrong):
    inputs = prove.samples([INPUT])
    wanted = values(inputs[0])
    for name in list(wanted)[list(wanted).index(wrong) :]:
        wanted[name] = wanted[name] + 0.01
    layers = [(f"original {name}", name, value) for name, value in wanted.items()]
    with pytest.raises(ParingError, match=f"the layer original {wrong} answers otherwise"):
        prove.prove(Network(CHAIN), inputs, [wanted["third"]], lambda: layers, "model.keras")


def test_a_difference_that_no_layer_shows_is_still_an_error():
    inputs = prove.samples([INPUT])
    with pytest.raises(ParingError, match="the model answers otherwise"):
        prove.prove(Network(CHAIN), inputs, [values(inputs[0])["third"] + 1], lambda: [], "model.keras")


@given(st.floats(1e-3, 1e6), st.floats(0, 1e-3))
def test_differences_count_against_the_largest_value(scale, share):
    wanted = np.array([scale, -scale / 2])
    found = prove.difference(wanted + scale * share, wanted)
    assert found == pytest.approx(scale * share / max(1.0, scale), rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("found", [np.array([np.nan, 1.0]), np.array([1.0]), np.array([np.inf, 1.0])])
def test_shapes_and_nan_that_differ_are_infinitely_far(found):
    assert prove.difference(found, np.array([1.0, 1.0])) == np.inf


def test_nan_in_the_same_place_is_no_difference():
    assert prove.difference(np.array([np.nan, 1.0]), np.array([np.nan, 1.0])) == 0
    assert prove.difference(torch.full((2,), torch.nan).numpy(), np.full(2, np.nan)) == 0
