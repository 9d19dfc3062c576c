"""Accuracy and loss in PyTorch."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import paring.data
from paring.core.model import Model, Source, TensorSpec
from paring.train.evaluate import accuracy, evaluate, tally


@pytest.fixture(scope="module")
def task():
    return paring.data.open("digits")


@pytest.fixture(scope="module")
def model(task):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 10))
    return Model(module.eval(), Source("torch:tests:net"), task.inputs, (TensorSpec("logits", ("batch", 10)),))


def test_counts_and_loss_are_those_of_the_whole_split(model, task):
    (batch,) = task.batches("validation", task.size("validation"))
    logits = model(batch.inputs)["logits"]
    found = evaluate(model, task, "validation", batch_size=50)
    assert found.total == task.size("validation")
    assert found.correct == int((logits.argmax(1) == batch.targets).sum())
    assert found.loss == pytest.approx(functional.cross_entropy(logits, batch.targets).item(), rel=1e-5)
    assert found.accuracy == found.correct / found.total
    assert accuracy(model, task, "validation") == (found.correct, found.total)


def test_limit(model, task):
    assert accuracy(model, task, "test", batch_size=30, limit=40)[1] == 40


def test_shards_add_up(model, task):
    whole = tally(model, model.module, task, "validation")
    parts = [tally(model, model.module, task, "validation", shard=(rank, 3)) for rank in range(3)]
    assert torch.equal(sum(parts)[:2], whole[:2])
    assert sum(parts)[2].item() == pytest.approx(whole[2].item())


def test_module_in_training_is_evaluated_in_eval_mode_and_left_as_it_was(model, task):
    model.module.train()
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    try:
        training = accuracy(model, task, "validation")
        assert model.module.training
    finally:
        model.module.eval()
    assert training == accuracy(model, task, "validation")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
