"""The sensitivity scan."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import softmax

from paring import load
from paring.core.progress import Silent
from paring.steps.prune.structure import scan
from paring.steps.prune.structure.compensate import Compensation
from paring.steps.prune.structure.proof import prunable
from paring.testing.models import TinyTask

MODEL = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


def test_the_uncut_network_loses_nothing_and_others_by_kullback_and_leibler():
    losses = scan.Losses(MODEL, TinyTask(), 32, batch_size=16)
    assert losses(copy.deepcopy(MODEL.module)) == pytest.approx(0, abs=1e-6)
    other = copy.deepcopy(MODEL.module)
    with torch.no_grad():
        other.classifier.bias += torch.arange(10) / 5
    images = next(iter(TinyTask().batches("calibration", 32))).inputs["image"]
    with torch.no_grad():
        p, q = (softmax(module(images).double(), -1) for module in (MODEL.module, other))
    assert losses(other) == pytest.approx(float((p * (p / q).log()).sum(-1).mean()), rel=1e-4)


def test_what_is_dead_costs_nothing_and_what_all_hangs_on_costs_most():
    model = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))
    with torch.no_grad():
        model.module.hidden.weight[8:] = 0
        model.module.hidden.bias[8:] = 0
    found = prunable(model)
    scores = {group.name: torch.arange(group.units, 0, -1.0) for group in found.groups}
    allowed = {group.name: [8, group.units] for group in found.groups}
    cut = Compensation(model, found, TinyTask(), 0, 32).cut
    points = scan.scan(found, scores, allowed, cut, scan.Losses(model, TinyTask(), 32, 16), Silent())
    assert points["hidden"][8] == pytest.approx(0, abs=1e-6)
    assert points["stem.0"][8] > 1e-5
    assert all(one[max(one)] == 0 for one in points.values())


def test_between_two_widths_the_loss_is_interpolated_and_never_rises_with_width():
    found = scan.curve({4: 1.0, 8: 1.2, 12: 0.4, 16: 0.0}, [4, 6, 8, 10, 12, 14, 16])
    assert found[2] == pytest.approx(1.2)
    assert found[3] == pytest.approx(0.8)
    assert (np.diff(found) <= 0).all()
    assert found[-1] == 0


def test_a_few_widths_of_many_are_scanned():
    assert scan.widths_to_scan(list(range(8, 97, 8))) == [72, 48, 24, 8]
    assert scan.widths_to_scan([8, 16]) == [8]
    assert scan.widths_to_scan([8]) == []
