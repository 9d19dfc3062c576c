"""Zeros that an earlier step won stay through a training."""

from dataclasses import replace

import pytest
import torch

from paring.core.model import Invariant
from paring.testing.models import TinyTask, tiny
from paring.train.config import TrainConfig
from paring.train.loop import fit
from paring.train.zeros import Zeros

INVARIANTS = (Invariant("sparsity", "body.3", 0.5), Invariant("scale", "body.0", [0.1]))


@pytest.fixture
def pruned():
    model = tiny()
    for layer in ("body.0", "body.3"):
        model.module.get_submodule(layer).weight.data.flatten()[::2] = 0
    return replace(model, invariants=INVARIANTS)


@pytest.mark.parametrize("options", [{"ema": 0.9}, {"optimizer": "adamw", "learning_rate": 0.01}])
def test_zeros_of_the_layers_named_stay_and_all_else_learns(pruned, tmp_path, options):
    steps, zeros = [], Zeros(pruned.module, pruned.invariants)

    def between(module, done):
        steps.append(done)
        zeros(module)

    config = TrainConfig(steps=6, batch_size=16, **options)
    fit(pruned, TinyTask(), config, seed=0, directory=tmp_path, between_steps=between, until=lambda step: step == 3)
    module = fit(pruned, TinyTask(), config, seed=0, directory=tmp_path, between_steps=between).module
    assert steps == [0, 1, 2, 3, 3, 4, 5, 6]
    kept, freed = module.get_submodule("body.3").weight.flatten(), module.get_submodule("body.0").weight.flatten()
    assert (kept[::2] == 0).all()
    assert (kept[1::2] != pruned.module.get_submodule("body.3").weight.flatten()[1::2]).all()
    assert (freed[::2] != 0).any()  # no invariant of sparsity names it
    assert (module.get_submodule("body.3").bias != pruned.module.get_submodule("body.3").bias).all()


def test_names_are_whole(pruned):
    Zeros(pruned.module, (Invariant("sparsity", "bod", 1),))(pruned.module)
    zeros = Zeros(pruned.module, (Invariant("sparsity", "body.3.weight", 1),))
    pruned.module.get_submodule("body.3").weight.data.fill_(1.0)
    pruned.module.get_submodule("body.0").weight.data.fill_(1.0)
    zeros(pruned.module)
    assert (pruned.module.get_submodule("body.3").weight.flatten()[::2] == 0).all()
    assert (pruned.module.get_submodule("body.0").weight == 1).all()
    assert torch.equal(pruned.module.get_submodule("body.3").weight.flatten()[1::2], torch.ones(32))
