"""What a training makes small, where nobody teaches."""

import torch

from paring.testing.models import TinyTask, tiny
from paring.train.config import TrainConfig
from paring.train.loop import fit
from paring.train.objective import TaskLoss


def test_it_is_the_tasks_own_loss():
    batch, outputs = next(iter(TinyTask().batches("train", 16))), {"output": torch.randn(16, 10)}
    assert TaskLoss(TinyTask(), 0.1)(batch, outputs) == TinyTask().loss(outputs, batch.targets, 0.1)


def test_it_is_what_is_made_small_where_none_is_named(tmp_path):
    config = TrainConfig(steps=2, batch_size=16)
    plain = fit(tiny(), TinyTask(), config, seed=0, directory=tmp_path / "a")
    same = fit(tiny(), TinyTask(), config, seed=0, directory=tmp_path / "b", objective=TaskLoss(TinyTask(), 0.0))
    assert torch.equal(plain.module.classifier.weight, same.module.classifier.weight)
