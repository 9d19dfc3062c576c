"""Compensation: what the kept channels tell of the others."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from paring import load
from paring.steps.prune.structure.compensate import Compensation
from paring.steps.prune.structure.proof import prunable
from paring.testing.models import TinyTask


@pytest.fixture
def copied():
    """A chain in which the second half of the hidden features is a mixture of the first, plus a constant."""
    model = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8), seed=1)
    hidden = model.module.hidden
    with torch.no_grad():
        hidden.bias += 20  # never below zero, so that ReLU changes nothing
        mixture = torch.rand(16, 16) / 16
        hidden.weight[16:] = mixture @ hidden.weight[:16]
        hidden.bias[16:] = mixture @ hidden.bias[:16] + 3
    return model


def answers(model, module):
    inputs = next(iter(TinyTask().batches("test", 16))).inputs
    return replace(model, module=module)(inputs)["output"]


def test_channels_that_others_determine_are_not_missed(copied):
    found = prunable(copied)
    cut = Compensation(copied, found, TinyTask(), 64, 32).cut({"hidden": range(16)})
    wanted = answers(copied, copied.module)
    torch.testing.assert_close(answers(copied, cut), wanted, rtol=0.02, atol=0.02)
    plain = Compensation(copied, found, TinyTask(), 0, 32).cut({"hidden": range(16)})
    assert (answers(copied, plain) - wanted).abs().max() > 1


def test_the_mean_of_what_goes_joins_the_bias():
    """Channels that are constant, and thus told by nothing, are made up for all the same."""
    model = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))
    with torch.no_grad():
        model.module.hidden.weight[20:] = 0
        model.module.hidden.bias[20:] = 2
    cut = Compensation(model, prunable(model), TinyTask(), 64, 32).cut({"hidden": range(20)})
    torch.testing.assert_close(answers(model, cut), answers(model, model.module), rtol=1e-3, atol=1e-3)


def test_a_layer_without_bias_shifts_its_batch_norm():
    model = load.open("torch:paring.testing.structures:concatenation", shape=(1, 8, 8))
    norm = model.module.left[1]
    with torch.no_grad():
        norm.weight[12:] = 0
        norm.bias[12:] = 2  # constants
    cut = Compensation(model, prunable(model), TinyTask(), 64, 32).cut({"left.0": range(12)})
    assert isinstance(cut.last[1], nn.BatchNorm2d)
    inner = slice(1, -1)  # at the border the padding stood in for the constant

    def seen(module):
        kept = []
        module.last.register_forward_hook(lambda _, __, output: kept.append(output[..., inner, inner]))
        answers(model, module)
        return kept[0]

    torch.testing.assert_close(seen(cut), seen(model.module), rtol=1e-3, atol=1e-3)


def test_more_is_lost_without_it():
    model = load.open("torch:paring.testing.structures:concatenation", shape=(1, 8, 8))
    found, wanted = prunable(model), answers(model, model.module)
    units = {"stem.0": range(0, 16, 2), "left.0": range(0, 16, 2)}
    with_it, without = (
        (answers(model, Compensation(model, found, TinyTask(), count, 32).cut(units)) - wanted).square().mean()
        for count in (64, 0)
    )
    assert with_it < 0.5 * without


def test_the_whole_network_is_untouched(copied):
    before = {name: tensor.clone() for name, tensor in copied.module.state_dict().items()}
    Compensation(copied, prunable(copied), TinyTask(), 64, 32).cut({"hidden": range(4)})
    assert all(torch.equal(before[name], tensor) for name, tensor in copied.module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in copied.module.modules())
