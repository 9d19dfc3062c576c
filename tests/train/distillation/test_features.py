"""Losses on what layers give."""

import pytest
import torch
from torch import nn

from paring.core.errors import ParingError
from paring.train.distillation.attention_maps import AttentionMaps
from paring.train.distillation.attention_transfer import AttentionTransfer
from paring.train.distillation.hidden_cosine import HiddenCosine
from paring.train.distillation.hints import Hints
from paring.train.distillation.options import (
    AttentionMapsConfig,
    AttentionTransferConfig,
    HiddenCosineConfig,
    HintsConfig,
    RelationalConfig,
)
from paring.train.distillation.pairs import Point
from paring.train.distillation.relational import Relational

EVERY = [
    (Hints, HintsConfig()),
    (AttentionTransfer, AttentionTransferConfig()),
    (HiddenCosine, HiddenCosineConfig()),
    (Relational, RelationalConfig()),
]


def pair(student, teacher, heads=0):
    return Point("s", ("s",), student, heads), Point("t", ("t",), teacher, heads)


def loss_of(kind, config, student, teacher, mask=None):
    found = kind(config, [pair(tuple(student.shape[1:]), tuple(teacher.shape[1:]))])
    return found([[student]], [[teacher]], mask)


@pytest.mark.parametrize(("kind", "config"), EVERY)
def test_the_teachers_own_features_cost_nothing(kind, config):
    taught = torch.randn(6, 4, 5, 5)
    assert loss_of(kind, config, taught, taught).item() == pytest.approx(0, abs=1e-5)
    assert loss_of(kind, config, torch.randn(6, 4, 5, 5), taught) > 1e-3


@pytest.mark.parametrize(("kind", "config"), EVERY)
def test_images_of_another_width_and_size_are_compared(kind, config):
    learned = torch.randn(6, 3, 5, 5, requires_grad=True)
    loss = loss_of(kind, config, learned, torch.randn(6, 4, 10, 10))
    loss.backward()
    assert loss.ndim == 0
    assert learned.grad.abs().sum() > 0


@pytest.mark.parametrize(("kind", "config"), [one for one in EVERY if one[0] is not AttentionTransfer])
def test_padded_tokens_do_not_count(kind, config):
    learned, taught = torch.randn(2, 3, 4, 8)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    wanted = loss_of(kind, config, learned, taught, mask)
    other = torch.where(mask[:, :, None] == 0, torch.full_like(learned, 9.0), learned)
    torch.testing.assert_close(loss_of(kind, config, other, taught, mask), wanted)
    changed = learned.clone()
    changed[0, 0] += torch.randn(8)
    assert not torch.isclose(loss_of(kind, config, changed, taught, mask), wanted)


def test_a_regressor_is_learned_where_widths_differ_and_only_there():
    same = Hints(HintsConfig(), [pair((4, 8, 8), (4, 8, 8)), pair((5, 16), (5, 16))])
    assert not list(same.parameters())
    other = Hints(HintsConfig(), [pair((4, 8, 8), (6, 8, 8)), pair((5, 16), (5, 24))])
    assert [type(one) for one in other.regressors] == [nn.Conv2d, nn.Linear]


def test_a_hint_is_relative_to_the_teachers_size():
    learned, taught = torch.randn(2, 6, 4, 5, 5)
    first = loss_of(Hints, HintsConfig(), learned, taught)
    torch.testing.assert_close(loss_of(Hints, HintsConfig(), learned * 100, taught * 100), first)
    torch.testing.assert_close(first, (learned - taught).square().mean() / taught.square().mean())


def test_attention_transfer_sees_places_and_no_channels():
    taught = torch.randn(4, 6, 5, 5)
    shuffled = taught[:, torch.randperm(6)] * 3
    assert loss_of(AttentionTransfer, AttentionTransferConfig(), shuffled, taught).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ParingError, match="not \\(channels, height, width\\)"):
        AttentionTransfer(AttentionTransferConfig(), [pair((5, 16), (5, 16))])


def test_a_cosine_sees_directions_alone():
    taught = torch.randn(3, 4, 8)
    config = HiddenCosineConfig()
    assert loss_of(HiddenCosine, config, taught * 7, taught).item() == pytest.approx(0, abs=1e-5)
    assert loss_of(HiddenCosine, config, -taught, taught).item() == pytest.approx(2, abs=1e-5)


def test_relations_are_kept_by_turning_and_scaling():
    taught = torch.randn(5, 8, dtype=torch.float64)
    turned = taught @ torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0] * 2.5 + 1
    assert loss_of(Relational, RelationalConfig(), turned, taught).item() == pytest.approx(0, abs=1e-9)
    wider = torch.randn(5, 3, dtype=torch.float64)
    assert loss_of(Relational, RelationalConfig(angle=0.0), wider, taught) > 0
    assert loss_of(Relational, RelationalConfig(distance=0.0), wider, taught) > 0


def attention(compare, student, teacher, mask=None, heads=None, own_heads=(2, 2)):
    points = (
        Point("s", ("q", "k"), tuple(student[0].shape[1:]), own_heads[0]),
        Point("t", ("q", "k"), tuple(teacher[0].shape[1:]), own_heads[1]),
    )
    return AttentionMaps(AttentionMapsConfig(compare=compare, heads=heads), [points])([student], [teacher], mask)


def test_attention_is_that_of_torch():
    query, key, value = torch.randn(3, 2, 4, 8)
    layer = nn.MultiheadAttention(8, 2, batch_first=True, bias=False)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
        wanted = layer(query, key, value, average_attn_weights=False)[1]
    other = torch.randn(2, 2, 4, 8)
    scores = torch.randn(2, 4, 8), torch.randn(2, 4, 8)
    found = attention("probabilities", scores, (query, key))
    logs = [one.unflatten(-1, (2, 4)).transpose(1, 2) for one in scores]
    student = (logs[0] @ logs[1].transpose(2, 3) / 2).log_softmax(-1)
    torch.testing.assert_close(found, (wanted * (wanted.log() - student)).sum(-1).mean())
    assert attention("scores", tuple(other), tuple(other)).item() == 0


@pytest.mark.parametrize("compare", ["probabilities", "scores"])
def test_nobody_looks_at_padding(compare):
    learned, taught = tuple(torch.randn(2, 3, 4, 8)), tuple(torch.randn(2, 3, 4, 8))
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    wanted = attention(compare, learned, taught, mask)
    padded = tuple(torch.where(mask[:, :, None] == 0, torch.full_like(one, 5.0), one) for one in learned)
    torch.testing.assert_close(attention(compare, padded, taught, mask), wanted)


def test_other_heads_are_split_anew_or_refused():
    narrow, wide = tuple(torch.randn(2, 3, 4, 8)), tuple(torch.randn(2, 3, 4, 12))
    assert attention("probabilities", narrow, wide, heads=4, own_heads=(2, 3)) > 0
    with pytest.raises(ParingError, match="s has 2 heads, t 3"):
        attention("probabilities", narrow, wide, own_heads=(2, 3))
    with pytest.raises(ParingError, match="5 heads do not divide the 8 features of s"):
        attention("probabilities", narrow, wide, heads=5)
