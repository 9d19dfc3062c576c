"""Smaller shapes as data."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Event, TensorSpec
from paring.load import saved
from paring.steps import keep_invariants
from paring.steps.shapes import cut, difference, replay
from paring.testing.models import TinyTask, tiny


def smaller(module):
    """Half of the channels of the tiny network are gone, batch norms, depthwise convolution and all."""
    found = copy.deepcopy(module)
    for name, tensor in [*found.named_parameters(), *found.named_buffers()]:
        owner, _, last = name.rpartition(".")
        kept = tensor.detach()
        for axis, size in enumerate(tensor.shape):
            kept = kept.narrow(axis, 0, 4 if size == 8 else size)
        part = found.get_submodule(owner)
        setattr(part, last, nn.Parameter(kept.clone()) if isinstance(tensor, nn.Parameter) else kept.clone())
    for part in found.modules():
        for attribute in ("in_channels", "out_channels", "groups", "num_features", "in_features"):
            if getattr(part, attribute, None) == 8:
                setattr(part, attribute, 4)
    return found


def test_a_cut_network_is_saved_and_rebuilt_from_its_source(tmp_path):
    model = tiny()
    found = cut(model, smaller(model.module), Event("prune.test", {}, "half"))
    again = saved.load(saved.save(found, tmp_path / "cut.safetensors"))
    inputs = next(iter(TinyTask().batches("test", 4))).inputs
    assert torch.equal(again(inputs)["output"], found(inputs)["output"])
    assert again.module.body[0].groups == 4
    assert {one.layer: one.value for one in found.invariants} == {
        "stem.0.weight": [4, 1, 3, 3],
        "body.0.weight": [4, 1, 3, 3],
        "body.3.weight": [4, 4, 1, 1],
        "classifier.weight": [10, 4],
    }


def test_another_shape_breaks_the_invariant():
    model = tiny()
    found = cut(model, smaller(model.module), Event("prune.test", {}, "half"))
    keep_invariants(found)
    with pytest.raises(ParingError, match=r"body\.3\.weight: was cut to \[4, 4, 1, 1\], and is \[8, 8, 1, 1\] now"):
        keep_invariants(replace(found, module=model.module))


def test_a_second_cut_takes_the_place_of_the_first():
    model = tiny()
    once = cut(model, smaller(model.module), Event("prune.test", {}, "half"))
    module = copy.deepcopy(once.module)
    module.body[3].weight = nn.Parameter(module.body[3].weight[:2].clone())
    twice = cut(once, module, Event("prune.test", {}, "half again"))
    assert [one.value for one in twice.invariants if one.layer == "body.3.weight"] == [[2, 4, 1, 1]]
    keep_invariants(twice)


def test_removed_modules_leave_the_others_their_names():
    before = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    after = copy.deepcopy(before)
    del after._modules["0"]
    data = difference(before, after, "here")
    assert data["removed"] == ["0"]
    found = replay(replace(tiny(), module=copy.deepcopy(before)), data)
    assert [name for name, _ in found.named_children()] == ["1", "2"]
    found.load_state_dict(after.state_dict())
    assert torch.equal(found(torch.ones(1, 3)), after(torch.ones(1, 3)))


def test_a_module_may_become_an_identity():
    before = nn.ModuleDict({"a": nn.Sequential(nn.Linear(3, 3)), "b": nn.ReLU()})
    after = copy.deepcopy(before)
    after["a"] = nn.Identity()
    data = difference(before, after, "here")
    assert (data["identity"], data["removed"]) == (["a"], [])
    assert isinstance(replay(replace(tiny(), module=copy.deepcopy(before)), data)["a"], nn.Identity)


def test_shared_tensors_stay_shared():
    before = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    before[1].weight = before[0].weight
    after = copy.deepcopy(before)
    after[0].weight = after[1].weight = nn.Parameter(torch.ones(4, 2))
    found = replay(replace(tiny(), module=copy.deepcopy(before)), difference(before, after, "here"))
    assert found[0].weight is found[1].weight
    assert found[0].weight.shape == (4, 2)


def test_a_new_kind_of_layer_cannot_be_told():
    with pytest.raises(ParingError, match="0 becomes a Conv1d"):
        difference(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Conv1d(2, 2, 1)), "here")


class LooksUp(nn.Module):
    """Words and places are looked up, the places always the same; the head has the words' weight."""

    def __init__(self, width):
        super().__init__()
        self.words, self.places = nn.Embedding(11, width), nn.Embedding(6, width)
        self.mark = nn.Parameter(torch.zeros(1, width))
        self.inner, self.head = nn.Linear(width, width), nn.Linear(width, 11)
        self.head.weight = self.words.weight

    def forward(self, x):
        """Shape (batch, 11)."""
        found = self.words(x) + self.places(torch.arange(x.shape[1])) + self.mark
        return self.head(self.inner(found).mean(1))


def test_what_is_looked_up_at_the_same_places_or_added_is_not_asked_of_a_file():
    model = replace(tiny(), module=LooksUp(8), inputs=(TensorSpec("words", ("batch", 5), "int64", range=(0, 10)),))
    small = LooksUp(8)
    for name, axis in (("words", 1), ("places", 1), ("inner", 0), ("inner", 1)):
        part = small.get_submodule(name)
        part.weight = nn.Parameter(part.weight.detach().narrow(axis, 0, 4).clone())
    small.mark = nn.Parameter(small.mark.detach()[:, :4].clone())
    small.inner.bias = nn.Parameter(small.inner.bias.detach()[:4].clone())
    small.head.weight = small.words.weight
    small.words.embedding_dim = small.places.embedding_dim = 4
    small.inner.in_features = small.inner.out_features = small.head.in_features = 4
    found = cut(model, small, Event("prune.test", {}, "half"))
    assert {one.layer: one.kind for one in found.invariants} == {
        "words.weight": "shape", "head.weight": "shape", "inner.weight": "shape",
        "places.weight": "constant_shape", "mark": "constant_shape",
    }  # fmt: skip
    keep_invariants(found)
    with pytest.raises(ParingError, match="broke 5 invariants"):
        keep_invariants(replace(found, module=LooksUp(8)))
