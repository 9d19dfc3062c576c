"""Soft targets."""

import pytest
import torch

from paring.train.distillation.soft_targets import soft_targets


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_hintons_formula(temperature):
    learned, taught = torch.randn(2, 16, 10)
    soft_taught, soft = (logits.div(temperature).softmax(1) for logits in (taught, learned))
    wanted = (soft_taught * (soft_taught / soft).log()).sum(1).mean() * temperature**2
    torch.testing.assert_close(soft_targets(learned, taught, temperature), wanted)


def test_the_teachers_own_answers_cost_nothing():
    taught = torch.randn(16, 10)
    assert soft_targets(taught + 3.0, taught, 2.0).item() == pytest.approx(0, abs=1e-6)
    assert soft_targets(taught + torch.randn(16, 10), taught, 2.0) > 0.01


def test_its_gradient_hardly_depends_on_the_temperature():
    # at high temperatures it tends to (learned − taught) / classes, section 2.1 of the paper, whatever T is
    taught = torch.randn(8, 10) * 0.1
    taught -= taught.mean(1, keepdim=True)
    gradients = []
    for temperature in (20.0, 60.0):
        learned = torch.zeros(8, 10, requires_grad=True)
        soft_targets(learned, taught, temperature).backward()
        gradients.append(learned.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0.02, atol=1e-5)
    torch.testing.assert_close(gradients[1], -taught / 10 / 8, rtol=0.02, atol=1e-5)
