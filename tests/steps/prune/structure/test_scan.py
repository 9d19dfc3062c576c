"""The sensitivity scan."""

import pytest
import torch

from paring import load
from paring.core.progress import Silent
from paring.steps.losses import Losses
from paring.steps.prune.structure import scan
from paring.steps.prune.structure.compensate import Compensation
from paring.steps.prune.structure.proof import prunable
from paring.testing.models import TinyTask

MODEL = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


def test_what_is_dead_costs_nothing_and_what_all_hangs_on_costs_most():
    model = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))
    with torch.no_grad():
        model.module.hidden.weight[8:] = 0
        model.module.hidden.bias[8:] = 0
    found = prunable(model)
    scores = {group.name: torch.arange(group.units, 0, -1.0) for group in found.groups}
    allowed = {group.name: [8, group.units] for group in found.groups}
    cut = Compensation(model, found, TinyTask(), 0, 32).cut
    points = scan.scan(found, scores, allowed, cut, Losses(model, TinyTask(), 32, 16), Silent())
    assert points["hidden"][8] == pytest.approx(0, abs=1e-6)
    assert points["stem.0"][8] > 1e-5
    assert all(one[max(one)] == 0 for one in points.values())


def test_a_few_widths_of_many_are_scanned():
    assert scan.widths_to_scan(list(range(8, 97, 8))) == [72, 48, 24, 8]
    assert scan.widths_to_scan([8, 16]) == [8]
    assert scan.widths_to_scan([8]) == []
