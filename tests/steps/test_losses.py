"""What answers lose."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import softmax

from paring import load
from paring.steps.losses import Losses, curve
from paring.testing.models import TinyTask

MODEL = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


def test_the_uncut_network_loses_nothing_and_others_by_kullback_and_leibler():
    losses = Losses(MODEL, TinyTask(), 32, batch_size=16)
    assert losses(copy.deepcopy(MODEL.module)) == pytest.approx(0, abs=1e-6)
    other = copy.deepcopy(MODEL.module)
    with torch.no_grad():
        other.classifier.bias += torch.arange(10) / 5
    images = next(iter(TinyTask().batches("calibration", 32))).inputs["image"]
    with torch.no_grad():
        p, q = (softmax(module(images).double(), -1) for module in (MODEL.module, other))
    assert losses(other) == pytest.approx(float((p * (p / q).log()).sum(-1).mean()), rel=1e-4)


def test_between_two_sizes_the_loss_is_interpolated_and_never_rises_with_size():
    found = curve({4: 1.0, 8: 1.2, 12: 0.4, 16: 0.0}, [4, 6, 8, 10, 12, 14, 16])
    assert found[2] == pytest.approx(1.2)
    assert found[3] == pytest.approx(0.8)
    assert (np.diff(found) <= 0).all()
    assert found[-1] == 0
