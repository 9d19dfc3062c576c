"""Optimizers and schedules."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring.train.config import TrainConfig
from paring.train.optim import make_optimizer, make_schedule, parameter_groups, rate


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


schedules = st.sampled_from(["onecycle", "cosine", "constant"])


@given(schedules, st.floats(0, 0.99), st.integers(1, 500))
def test_rate_rises_to_the_peak_and_falls_to_zero(schedule, warmup, steps):
    config = TrainConfig(schedule=schedule, warmup=warmup)
    rates = [rate(step, steps, config) for step in range(steps + 1)]
    assert all(0 < each <= 1 for each in rates[:-1])
    top = max(range(steps + 1), key=rates.__getitem__)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == (1.0 if schedule == "constant" else pytest.approx(0, abs=1e-12))


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
    module = nn.Linear(3, 2)
    config = TrainConfig(schedule=schedule, learning_rate=0.5)
    optimizer = make_optimizer(module, config)
    scheduler = make_schedule(optimizer, config, 200)
    used = []
    for _ in range(200):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert max(used) == pytest.approx(0.5)
    assert 0 < used[-1] < 1e-3 * 0.5
