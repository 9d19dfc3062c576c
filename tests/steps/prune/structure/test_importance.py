"""Importance: each method against its formula."""

import pytest
import torch
from torch import nn

from paring import load
from paring.steps.prune.structure.carve import carved
from paring.steps.prune.structure.importance import scores, taylor
from paring.steps.prune.structure.proof import prunable
from paring.testing.models import TinyTask
from paring.train.forward import forward

MODEL = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))
FOUND = prunable(MODEL)
KINDS = ("l1", "l2", "bn_scale", "taylor", "fpgm", "lamp", "random")


def of(kind, model=MODEL, found=FOUND, seed=0):
    return scores(kind, model, found, TinyTask(), 32, seed, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_every_group_has_a_finite_score_for_each_unit(kind):
    found, missing = of(kind)
    for group in FOUND.groups:
        if group.name in found:
            assert found[group.name].shape == (group.units,)
            assert torch.isfinite(found[group.name]).all()
            assert (found[group.name] >= 0).all()
        else:
            assert kind == "bn_scale"
            assert "no batch norm" in missing[group.name]


def rows():
    hidden, classifier = MODEL.module.hidden.weight.detach().double(), MODEL.module.classifier.weight.detach().double()
    return hidden, classifier.T


@pytest.mark.parametrize(("kind", "order"), [("l1", 1), ("l2", 2)])
def test_norms_of_what_makes_and_what_reads_a_channel(kind, order):
    parts = [torch.linalg.vector_norm(one, order, dim=1) for one in rows()]
    wanted = sum(part / part.mean() for part in parts) / 2
    torch.testing.assert_close(of(kind)[0]["hidden"], wanted)


def test_fpgm_is_the_distance_to_all_others():
    parts = []
    for one in rows():
        parts.append(torch.stack([(one - row).norm(dim=1).sum() for row in one]))
    torch.testing.assert_close(of("fpgm")[0]["hidden"], sum(part / part.mean() for part in parts) / 2)


def test_lamp_divides_by_what_is_no_smaller():
    norms = of("l2")[0]["hidden"]
    wanted = torch.stack([one**2 / (norms[norms >= one] ** 2).sum() for one in norms])
    torch.testing.assert_close(of("lamp")[0]["hidden"], wanted)


def test_bn_scale_reads_every_batch_norm_of_the_group():
    group = next(group for group in FOUND.groups if group.name == "stem.0")
    norms = [MODEL.module.stem[1], *(block[1] for block in MODEL.module.blocks)]
    parts = [norm.weight.detach().double().abs() for norm in norms]
    torch.testing.assert_close(of("bn_scale")[0][group.name], sum(part / part.mean() for part in parts) / len(parts))


def test_taylor_is_the_squared_slope_of_a_gate_on_the_channel():
    found = taylor(MODEL, FOUND, TinyTask(), 16, 8)["hidden"]
    total = torch.zeros(32, dtype=torch.float64)
    for batch in TinyTask().batches("calibration", 1, limit=16):
        gate = torch.ones(32, requires_grad=True)
        handle = MODEL.module.classifier.register_forward_pre_hook(lambda _, given, gate=gate: (given[0] * gate,))
        TinyTask().loss(forward(MODEL, MODEL.module, batch.inputs), batch.targets).backward()
        handle.remove()
        total += gate.grad.double() ** 2
    MODEL.module.zero_grad(set_to_none=True)
    torch.testing.assert_close(found, total / 16, rtol=1e-3, atol=1e-9)


def test_taylor_of_a_shared_stream_sums_over_all_that_read_it():
    model = load.open("torch:paring.testing.structures:concatenation", shape=(1, 8, 8))
    structure = prunable(model)
    dead = carved(model.module, {})
    with torch.no_grad():
        dead.left[0].weight[:, 3] = dead.right[0].weight[:, 3] = dead.last[0].weight[:, 3] = 0
    from dataclasses import replace

    found = taylor(replace(model, module=dead), structure, TinyTask(), 16, 8)["stem.0"]
    assert found[3] == 0
    assert (found > 0).sum() > 8


def test_chance_goes_by_the_seed():
    one, again, other = (of("random", seed=seed)[0]["hidden"] for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_rows_of_a_convolution_in_groups_are_those_of_its_channels():
    model = load.open("torch:paring.testing.structures:grouped", shape=(1, 8, 8))
    structure = prunable(model)
    with torch.no_grad():
        for part in model.module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.weight.fill_(1.0)
        model.module.body[0].weight[:8, 2] = 0  # the third channel of the first group: unit 2 of the stem
        model.module.body[0].weight[24:, 1] = 0
    found, _ = scores("l1", model, structure, TinyTask(), 8, 0, 8)
    assert found["stem.0"].argsort()[:2].sort().values.tolist() == [1, 2]
