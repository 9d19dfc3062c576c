"""Batch-norm statistics anew."""

import copy

import torch

from paring.steps.reestimate import reestimate
from paring.testing.models import TinyTask, tiny


def test_statistics_are_those_of_the_samples():
    model = tiny()
    module = copy.deepcopy(model.module)
    momentum = module.stem[1].momentum
    assert reestimate(model, module, TinyTask(), 64, batch_size=64) == 2
    images = next(iter(TinyTask().batches("calibration", 64))).inputs["image"]
    with torch.no_grad():
        given = module.stem[0](images)
    torch.testing.assert_close(module.stem[1].running_mean, given.mean((0, 2, 3)))
    torch.testing.assert_close(module.stem[1].running_var, given.var((0, 2, 3)))
    assert not any(part.training for part in module.modules())
    assert module.stem[1].momentum == momentum


def test_a_network_without_batch_norm_stays_as_it_is():
    model = tiny()
    assert reestimate(model, torch.nn.Sequential(torch.nn.Linear(2, 2)), TinyTask(), 8, 8) == 0
