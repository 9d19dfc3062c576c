"""Optimizers and schedules."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring.train.config import TrainConfig
from paring.train.optim import make_optimizer, parameter_groups, plateaus, rate, set_rate


def test_norms_and_biases_do_not_decay():
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm((4, 6, 6)), nn.Flatten(), nn.Linear(144, 2)
    )
    module[0].bias.requires_grad_(False)
    decayed, exempt = parameter_groups(module, 0.25)
    assert [id(p) for p in decayed["params"]] == [id(module[0].weight), id(module[4].weight)]
    assert decayed["weight_decay"] == 0.25
    free = [module[1].weight, module[1].bias, module[2].weight, module[2].bias, module[4].bias]
    assert [id(p) for p in exempt["params"]] == [id(p) for p in free]
    assert exempt["weight_decay"] == 0.0


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_decay_alone_shrinks_weights_only(name):
    module = nn.Linear(3, 2)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    optimizer = make_optimizer(module, TrainConfig(optimizer=name, learning_rate=0.5, weight_decay=0.1, momentum=0.0))
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(module.weight.data, before["weight"] * 0.95)
    assert torch.equal(module.bias, before["bias"])


def test_options_reach_the_optimizer():
    module = nn.Linear(3, 2)
    sgd = make_optimizer(module, TrainConfig(learning_rate=0.5, momentum=0.8, nesterov=True))
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.5, 0.8, True)
    adamw = make_optimizer(module, TrainConfig(optimizer="adamw", momentum=0.8))
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.defaults["betas"] == (0.8, 0.999)


schedules = st.sampled_from(["onecycle", "cosine", "constant", "plateau"])


@given(schedules, st.floats(0, 0.99), st.integers(1, 500))
def test_rate_rises_to_the_peak_and_falls_to_zero(schedule, warmup, steps):
    config = TrainConfig(schedule=schedule, warmup=warmup)
    rates = [rate(step, steps, config) for step in range(steps + 1)]
    assert all(0 < each <= 1 for each in rates[:-1])
    top = max(range(steps + 1), key=rates.__getitem__)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == (1.0 if schedule in {"constant", "plateau"} else pytest.approx(0, abs=1e-12))


def test_schedules_follow_their_formulas():
    cosine = TrainConfig(schedule="cosine", warmup=0.0)
    assert rate(0, 100, cosine) == 1.0
    assert rate(50, 100, cosine) == pytest.approx(0.5)
    onecycle = TrainConfig(schedule="onecycle", warmup=0.4)
    assert rate(0, 100, onecycle) == pytest.approx(1 / 25)
    assert rate(20, 100, onecycle) == pytest.approx((1 + 1 / 25) / 2)
    assert rate(40, 100, onecycle) == 1.0
    assert rate(70, 100, onecycle) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_last_step_is_taken_at_almost_zero(schedule):
    used = [rate(step, 200, TrainConfig(schedule=schedule)) for step in range(200)]
    assert max(used) == pytest.approx(1.0)
    assert 0 < used[-1] < 1e-3


def test_the_rate_is_that_of_every_group():
    optimizer = make_optimizer(nn.Linear(3, 2), TrainConfig())
    set_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 4))
def test_plateaus_are_those_of_torch(accuracies, patience):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    for accuracy in accuracies:
        reference.step(accuracy)
    assert 0.5 ** plateaus(accuracies, patience) == optimizer.param_groups[0]["lr"]


def test_a_plateau_lowers_the_rate_after_the_rise():
    config = TrainConfig(schedule="plateau", factor=0.5, patience=1, warmup=0.2)
    assert rate(50, 100, config, (0.7, 0.7)) == 1.0
    assert rate(50, 100, config, (0.7, 0.7, 0.6)) == 0.5
    assert rate(50, 100, config, (0.7, 0.7, 0.6, 0.8, 0.8, 0.8)) == 0.25
    assert rate(9, 100, config, (0.7, 0.7, 0.6)) == rate(9, 100, TrainConfig(schedule="cosine"))
