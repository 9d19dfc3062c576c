"""Which layer learns from which."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring import load
from paring.core.errors import ParingError, UnknownName
from paring.testing.networks import TinyNetwork, TransformerNetwork
from paring.train.distillation.pairs import AttentionPoints, LayerPoints, Point, by_depth, paired, told
from paring.train.distillation.taps import shapes


def seen(module, *inputs):
    module.eval()
    return module, shapes(module, inputs)


def images(module):
    return seen(module, torch.zeros(2, 1, 8, 8))


def names(pairs):
    return [(student.name, teacher.name) for student, teacher in pairs]


@given(student=st.integers(1, 12), teacher=st.integers(1, 12))
def test_depth_pairs_as_many_as_there_can_be_in_order_and_the_last_with_the_last(student, teacher):
    own, other = ([Point(str(i), (), ()) for i in range(count)] for count in (student, teacher))
    found = [(int(a), int(b)) for a, b in names(by_depth(own, other))]
    assert len(found) == min(student, teacher)
    assert found[-1] == (student - 1, teacher - 1)
    for side in zip(*found, strict=True):
        assert list(side) == sorted(set(side))


def test_every_second_layer_of_six_teaches_one_of_three():
    own, other = ([Point(str(i), (), ()) for i in range(count)] for count in (3, 6))
    assert names(by_depth(own, other)) == [("0", "1"), ("1", "3"), ("2", "5")]


class Stages(nn.Module):
    def __init__(self, depths, width=4):
        super().__init__()
        self.stages = nn.ModuleList()
        for stage, depth in enumerate(depths):
            for block in range(depth):
                first = 1 if stage == block == 0 else width
                self.stages.append(nn.Conv2d(first, width, 3, stride=1 if block else 2, padding=1))

    def forward(self, x):
        for block in self.stages:
            x = block(x)
        return x.mean((2, 3))


def test_blocks_are_paired_within_their_resolution():
    found = paired(LayerPoints(), "auto", images(Stages([1, 2])), images(Stages([3, 2], width=6)), "hints")
    assert names(found) == [("stages.0", "stages.2"), ("stages.1", "stages.3"), ("stages.2", "stages.4")]
    by_depth_alone = paired(LayerPoints(), "depth", images(Stages([1, 2])), images(Stages([1, 5])), "hints")
    assert names(by_depth_alone) == [("stages.0", "stages.1"), ("stages.1", "stages.3"), ("stages.2", "stages.5")]
    assert names(paired(LayerPoints(), "last", images(Stages([1, 2])), images(Stages([3, 2])), "hints")) == [
        ("stages.2", "stages.4")
    ]


def test_a_layer_that_was_taken_apart_is_one_block():
    network = Stages([1, 2])
    network.stages[1] = nn.Sequential(nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 3, stride=2, padding=1))
    x = torch.zeros(2, 1, 8, 8)
    apart = network.eval(), shapes(network, [x], ["stages.1"])
    teacher = images(Stages([1, 2], width=6))
    assert names(paired(LayerPoints(), "auto", apart, teacher, "hints")) == [
        ("stages.0", "stages.0"), ("stages.1", "stages.1"), ("stages.2", "stages.2"),
    ]  # fmt: skip
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 3))).eval()
    points = LayerPoints().blocks(plain, shapes(plain, [x], ["1"]))
    assert [point.name for point in points] == ["0", "1"]


def test_zoo_networks_of_other_depth_are_paired_by_themselves():
    shape = (1, 32, 32)
    student, teacher = (load.open(f"zoo:{n}(classes=10)", shape=shape).module for n in ("resnet8", "resnet20"))
    found = paired(LayerPoints(), "auto", *(seen(one, torch.zeros(2, *shape)) for one in (student, teacher)), "hints")
    assert len({student.name for student, _ in found}) == len(found) >= 3
    assert all(own.shape[1:] == other.shape[1:] for own, other in found)


def test_patterns_choose_in_order():
    student, teacher = images(Stages([1, 2])), images(Stages([3, 3]))
    found = paired(LayerPoints(), {"stages.[01]": "stages.[25]", "stages.2": "stages.1"}, student, teacher, "hints")
    assert names(found) == [("stages.0", "stages.2"), ("stages.1", "stages.5"), ("stages.2", "stages.1")]


def test_patterns_that_match_nothing_or_unequally_many_are_refused():
    student, teacher = images(Stages([1, 2])), images(Stages([3, 3]))
    with pytest.raises(UnknownName, match=r"(?s)layer of the student.*stage\.0.*stages\.0"):
        paired(LayerPoints(), {"stage.0": "stages.0"}, student, teacher, "hints")
    with pytest.raises(UnknownName, match="layer of the teacher"):
        paired(LayerPoints(), {"stages.0": "stages.9"}, student, teacher, "hints")
    with pytest.raises(ParingError, match=r"chooses 3 layers of the student .* 6 of"):
        paired(LayerPoints(), {"stages.*": "stages.*"}, student, teacher, "hints")


def test_things_of_another_kind_are_not_compared():
    rows, image = images(TransformerNetwork()), images(TinyNetwork())
    with pytest.raises(ParingError, match=r"layers.1 gives \(8, 8\) for a sample"):
        paired(LayerPoints(), {"layers.1": "stem.0"}, rows, image, "hints")
    with pytest.raises(ParingError, match="has its like"):
        paired(LayerPoints(), "auto", rows, image, "hints")


class Attentive(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Module() for _ in range(layers))
        for layer in self.layers:
            layer.num_heads = 2
            layer.q_proj, layer.k_proj = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = x[:, 0]
        for layer in self.layers:
            x = (layer.q_proj(x) @ layer.k_proj(x).transpose(1, 2)).softmax(-1) @ x
        return x.mean(1)


def test_attention_is_found_by_its_projections():
    found = paired(AttentionPoints(), "auto", images(Attentive(1)), images(Attentive(3)), "attention_maps")
    assert names(found) == [("layers.0", "layers.2")]
    assert found[0][1].reads == ("layers.2.q_proj", "layers.2.k_proj")
    assert found[0][0].heads == 2
    with pytest.raises(ParingError, match="none"):
        paired(AttentionPoints(), "auto", images(TinyNetwork()), images(Attentive(1)), "attention_maps")


def test_a_few_pairs_are_told_by_name():
    points = [(Point(f"a{i}", (), ()), Point(f"b{i}", (), ())) for i in range(6)]
    assert told(points[:2]) == "a0 ← b0, a1 ← b1"
    assert told(points).endswith("a3 ← b3 and 2 more")
