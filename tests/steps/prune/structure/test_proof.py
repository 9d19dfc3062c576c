"""Groups of channels: what belongs together, and the proof that it can be cut."""

import pytest
import torch

from paring import load
from paring.steps.prune.structure.carve import carved
from paring.steps.prune.structure.proof import prunable
from paring.testing.models import tiny


def structure(name):
    model = load.open(f"torch:paring.testing.structures:{name}", shape=(1, 8, 8))
    return model, prunable(model)


def layers(found):
    return [set(group.layers) for group in found.groups]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("concatenation", [{"stem.0"}, {"left.0"}, {"right.0"}, {"last.0"}]),
        ("chain", [{"stem.0", "blocks.0.0", "blocks.1.0", "blocks.2.0"}, {"down", "shortcut"}, {"hidden"}]),
        ("grouped", [{"stem.0"}, {"body.0"}, {"expand", "multiplied"}]),
        ("shared", [{"stem.0", "body.0", "first", "second"}]),
        ("heads", [{"stem.0"}, {"body.0", "excite"}, {"squeeze"}]),
        ("recurrent", [{"embed"}, {"lstm"}]),
        ("up_and_down", [{"stem.0"}, {"up"}, {"down.0"}, {"shuffled"}]),
        ("attention", [{"layer.linear1"}]),
    ],
)
def test_what_depends_on_each_other_is_one_group(name, wanted):
    assert layers(structure(name)[1]) == wanted


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("chain", "classifier", "network's answers"),
        ("heads", "boxes", "network's answers"),
        ("attention", "embed", "nn.MultiheadAttention"),
    ],
)
def test_what_cannot_be_cut_is_named_with_the_reason(name, layer, reason):
    assert reason in structure(name)[1].skipped[layer]


def test_a_shuffle_takes_the_same_of_each_of_its_groups():
    _, found = structure("up_and_down")
    group = next(group for group in found.groups if "down.0" in group.layers)
    assert group.members["down.0", "out"][3] == (3, 11)


def test_a_flattened_layer_loses_all_places_of_a_channel():
    _, found = structure("chain")
    group = next(group for group in found.groups if "down" in group.layers)
    assert group.members["hidden", "in"][1] == (4, 5, 6, 7)


def test_groups_of_a_convolution_lose_the_same_places():
    model, found = structure("grouped")
    body = next(group for group in found.groups if group.layers == ("body.0",))
    assert body.members["body.0", "out"][0] == (0, 8, 16, 24)
    kept = found.kept({body.name: [0, 2, 5]})
    small = carved(model.module, kept)
    torch.testing.assert_close(
        small.body[0].weight, model.module.body[0].weight[[0, 2, 5, 8, 10, 13, 16, 18, 21, 24, 26, 29]]
    )
    assert (small.body[0].groups, small.body[0].out_channels, small.expand.in_channels) == (4, 12, 12)


def test_the_whole_stays_untouched():
    model = tiny()
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    prunable(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.module.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.module.modules())


def test_padded_shortcuts_hold_only_what_they_add_beyond():
    found = prunable(load.open("zoo:resnet20", shape=(1, 8, 8)))
    stream = next(group for group in found.groups if group.name == "stem.conv")
    assert stream.units == 16
    assert all(max(channels) < 16 for units in stream.members.values() for channels in units)
