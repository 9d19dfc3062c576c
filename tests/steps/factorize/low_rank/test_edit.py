"""Factors as an edit and as invariants."""

import copy
from dataclasses import replace

import torch
from torch import nn

from paring import load
from paring.core.model import Event, Invariant
from paring.load import saved
from paring.steps import keep_invariants
from paring.steps.factorize.low_rank.edit import put, rank_holds
from paring.steps.factorize.low_rank.factors import chain, linear
from paring.steps.shapes import RANK, SHAPE
from paring.testing.models import TinyTask

LAYOUTS = {"hidden": [linear(96, 5, bias=False), linear(5, 32, bias=True)]}


def made():
    model = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))
    model = replace(
        model, invariants=(Invariant(SHAPE, "hidden.weight", [32, 96]), Invariant(SHAPE, "down.weight", [24, 16, 3, 3]))
    )
    module = copy.deepcopy(model.module)
    module.set_submodule("hidden", chain(LAYOUTS["hidden"]))
    nn.init.normal_(module.hidden[0].weight)
    return put(model, module, LAYOUTS, Event("factorize.test", {}, "hidden"))


def test_what_is_said_of_the_layer_gives_way_to_what_is_said_of_its_factors():
    found = [(one.kind, one.layer, one.value) for one in made().invariants]
    assert found == [
        (SHAPE, "down.weight", [24, 16, 3, 3]),
        (RANK, "hidden", {"0.weight": [0, 5]}),
        (SHAPE, "hidden.0.weight", [5, 96]),
        (SHAPE, "hidden.1.weight", [32, 5]),
    ]
    keep_invariants(made())


def test_saved_and_loaded_it_answers_bit_for_bit(tmp_path):
    model = made()
    again = saved.load(saved.save(model, tmp_path / "model.safetensors"))
    inputs = next(iter(TinyTask().batches("test", 4))).inputs
    assert torch.equal(again(inputs)["output"], model(inputs)["output"])
    assert again.edits == model.edits


def test_a_rank_may_fall_but_neither_rise_nor_vanish():
    model = made()
    (rank,) = (one for one in model.invariants if one.kind == RANK)
    for width, told in ((3, None), (5, None), (7, "was of rank 5, and is of rank 7 now")):
        module = copy.deepcopy(model.module)
        module.hidden = chain([linear(96, width, bias=False), linear(width, 32, bias=True)])
        assert rank_holds(replace(model, module=module), rank) == told
    module.hidden = nn.Linear(96, 32)
    assert rank_holds(replace(model, module=module), rank) == "its factors are gone"
