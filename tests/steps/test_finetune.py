"""The step that fine-tunes."""

import copy
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

import paring.data
from paring.core.errors import ParingError
from paring.core.model import Event, Invariant, Model, Source, TensorSpec
from paring.core.step import Context, Phase
from paring.core.target import Limits
from paring.steps.finetune import Finetune
from paring.train.config import RecoverConfig, TrainConfig
from paring.train.evaluate import accuracy
from paring.train.loop import STATE, fit


@pytest.fixture(scope="module")
def task():
    return paring.data.open("digits")


@pytest.fixture(scope="module")
def trained(task, tmp_path_factory):
    """A model that learned a little, and then lost some of it."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    outputs = (TensorSpec("logits", ("batch", 10)),)
    model = Model(module.eval(), Source("torch:tests.steps:net"), task.inputs, outputs)
    config = TrainConfig(epochs=2, batch_size=32)
    fitted = fit(model, task, config, seed=0, directory=tmp_path_factory.mktemp("trained"))
    fitted.module[0].weight.data[:4] = 0
    return replace(model, module=fitted.module, history=(Event("prune.example", {}, "4 filters lost"),))


@pytest.fixture
def context(task, trained, tmp_path):
    limits = Limits(frozenset({"float32"}), frozenset({"float32"}))
    return Context(task=task, limits=limits, seed=0, original=trained, directory=tmp_path)


def test_it_recovers_what_was_lost(trained, task, context):
    before = copy.deepcopy(trained.module.state_dict())
    config = RecoverConfig(epochs=2, batch_size=32)
    tuned = Finetune().apply(trained, config, context)
    lost, total = accuracy(trained, task, "validation")
    won, _ = accuracy(tuned, task, "validation")
    assert won > lost
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.module.state_dict().items())
    assert (context.directory / STATE).exists()
    first, event = tuned.history
    assert first == trained.history[0]
    assert event.step == "finetune"
    assert RecoverConfig(**event.config) == config
    told = re.fullmatch(r"2 epochs, loss (\S+) → (\S+), validation (\S+) → (\S+) %", event.changed)
    assert told, event.changed
    assert float(told[1]) > float(told[2])
    assert told[3] == f"{100 * lost / total:.1f}"
    assert told[4] == f"{100 * won / total:.1f}"


def test_same_context_same_bits(trained, context, tmp_path):
    config = RecoverConfig(steps=1)
    one = Finetune().apply(trained, config, replace(context, directory=tmp_path / "a"))
    two = Finetune().apply(trained, config, replace(context, directory=tmp_path / "b"))
    other = Finetune().apply(trained, config, replace(context, directory=tmp_path / "c", seed=1))
    assert torch.equal(one.module[4].weight, two.module[4].weight)
    assert not torch.equal(one.module[4].weight, other.module[4].weight)
    assert one.history[-1].changed.startswith("1 step, loss ")


def test_a_quantized_model_is_refused(trained, context):
    quantized = replace(trained, invariants=(Invariant("scale", "0", 0.1),))
    with pytest.raises(ParingError) as caught:
        Finetune().apply(quantized, RecoverConfig(), context)
    assert "scales are fixed" in caught.value.problem
    assert "before the quantization step" in caught.value.remedy


def test_it_says_what_it_is():
    assert (Finetune.name, Finetune.phase, Finetune.Config) == ("finetune", Phase.RECOVERY, RecoverConfig)
    assert (RecoverConfig().epochs, RecoverConfig().learning_rate) == (1, 0.01)
