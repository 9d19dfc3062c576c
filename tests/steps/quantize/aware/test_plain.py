"""Ranges that follow what passes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.steps.quantize.aware.plain import ExtremeWeight, MovingActivation


def moving(scale: float = 0.1, zero_point: int = -128, *, symmetric: bool = False):
    return MovingActivation(torch.tensor([scale]), torch.tensor([zero_point]), -128, 127, symmetric=symmetric)


@settings(deadline=None, max_examples=50)
@given(st.floats(1e-4, 10), st.integers(-128, 127))
def test_it_begins_where_calibration_stood(scale, zero_point):
    found, zero = moving(scale, zero_point).grid()
    assert found.item() == pytest.approx(scale, rel=1e-5)
    assert abs(zero.item() - zero_point) <= 1


def test_only_training_moves_it_and_only_until_it_is_frozen():
    activation = moving()
    start = activation.grid()
    data = torch.full((4, 4), 100.0)
    activation.eval()(data)
    assert activation.grid() == start
    activation.train()(data)
    assert activation.grid()[0] > start[0]
    activation.moving, moved = False, activation.grid()
    activation(data)
    assert activation.grid() == moved
    assert activation.state_dict().keys() == {"smallest", "largest"}  # a killed training goes on from these


@pytest.mark.parametrize("symmetric", [False, True])
def test_it_comes_to_the_extremes(symmetric):
    activation = moving(symmetric=symmetric, zero_point=0 if symmetric else -128).train()
    for _ in range(1500):
        activation(torch.tensor([-1.0, 3.0]))
    scale, zero = activation.grid()
    if symmetric:
        assert (scale.item(), zero.item()) == (pytest.approx(3 / 127.5, rel=1e-3), 0)
    else:
        assert (scale.item(), zero.item()) == (pytest.approx(4 / 255, rel=1e-3), -64)


def test_values_on_one_side_of_0_leave_0_on_the_grid():
    activation = moving().train()
    for _ in range(1500):
        activation(torch.tensor([2.0, 3.0]))
    scale, zero = activation.grid()
    assert (scale.item(), zero.item()) == (pytest.approx(3 / 255, rel=1e-3), -128)


def test_weights_take_their_extremes():
    weight = torch.tensor([[1.0, -2.0], [0.5, 0.1]])
    ones = torch.ones(1, 1)
    each = ExtremeWeight(torch.ones(2, 1), ones, 4, 127).scale(weight, ones)
    torch.testing.assert_close(each, torch.tensor([[2 / 127], [0.5 / 127]]))
    torch.testing.assert_close(ExtremeWeight(ones, ones, 4, 127).scale(weight, ones), torch.tensor([[2 / 127]]))
