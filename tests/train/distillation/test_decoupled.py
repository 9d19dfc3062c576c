"""Decoupled distillation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paring.train.distillation.decoupled import decoupled
from paring.train.distillation.soft_targets import soft_targets


@given(seed=st.integers(0, 1000), temperature=st.sampled_from([1.0, 2.0, 4.0]), scale=st.sampled_from([0.1, 1.0, 8.0]))
def test_with_the_teachers_own_weights_its_parts_add_up_to_soft_targets(seed, temperature, scale):
    # equation 3: KD = TCKD + (1 − p_t) · NCKD, a weight for each sample
    chance = torch.Generator().manual_seed(seed)
    learned, taught = torch.randn(2, 1, 7, generator=chance, dtype=torch.float64) * scale
    target = torch.randint(7, (1,), generator=chance)
    rest = 1 - float((taught / temperature).softmax(1)[0, target])
    found = decoupled(learned, taught, target, temperature, 1.0, rest)
    torch.testing.assert_close(found, soft_targets(learned, taught, temperature), rtol=1e-6, atol=1e-9)


def test_each_part_sees_its_own_classes_alone():
    taught, target = torch.randn(1, 5), torch.tensor([2])
    others = taught.clone()
    others[0, 2] += 4  # only how sure it is of the target changes
    assert decoupled(others, taught, target, 1.0, 0.0, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert decoupled(others, taught, target, 1.0, 1.0, 0.0) > 0.01


def test_between_two_classes_there_is_nothing_else_to_tell():
    learned, taught = torch.randn(2, 6, 2)
    target = torch.randint(2, (6,))
    torch.testing.assert_close(decoupled(learned, taught, target, 2.0, 1.0, 5.0), soft_targets(learned, taught, 2.0))


def test_very_sure_answers_stay_finite():
    learned = torch.tensor([[1000.0, 0.0, -1000.0]], requires_grad=True)
    loss = decoupled(learned, torch.tensor([[-1000.0, 0.0, 1000.0]]), torch.tensor([0]), 1.0, 1.0, 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(learned.grad).all()
