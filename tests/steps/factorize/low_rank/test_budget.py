"""A budget, spread over layers."""

from itertools import product
from pathlib import Path

import pytest
import torch

from paring import load
from paring.core.errors import ParingError
from paring.core.step import Context
from paring.core.target import Limits
from paring.measure import cost
from paring.steps.factorize.low_rank import budget
from paring.steps.factorize.low_rank.budget import Spread
from paring.steps.factorize.low_rank.candidates import Candidate
from paring.steps.factorize.low_rank.factors import filled
from paring.steps.factorize.low_rank.layers import find
from paring.steps.factorize.low_rank.metric import PLAIN
from paring.steps.factorize.low_rank.split import NoFactors
from paring.steps.factorize.low_rank.svd import Svd
from paring.testing.models import TinyTask

NAMES = ("blocks.0.0", "blocks.1.0", "hidden")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


def spread(model, fails=()) -> Spread:
    layers = {
        layer.name: Candidate(layer, part, Svd().split(part, PLAIN, None), 4)
        for layer in find(model, lambda _: "")
        if layer.name in NAMES
        for part in [model.module.get_submodule(layer.name)]
    }

    def factors(name, ranks):
        if (name, ranks) in fails:
            raise NoFactors("as the test wants")
        return filled(layers[name].split.factors(ranks))

    every = frozenset({"float32"})
    context = Context(TinyTask(), Limits(every, every), 0, model, Path("unused"))
    return Spread(model, layers, factors, context, 16, "here")


@pytest.mark.parametrize("measure", ["macs", "parameters"])
def test_the_ranks_have_the_least_loss_of_all_within_the_limit(model, measure):
    one = spread(model)
    limit = 0.7 * one.whole(measure)
    found = one.within(measure, limit)

    def total(ranks, table) -> float:
        return sum(table(name, rank) for name, rank in zip(NAMES, ranks, strict=True))

    def price(name, rank) -> float:
        layer = one._layers[name]
        return float(getattr(layer.whole if rank is None else layer.cost(rank), measure))

    def loss(name, rank) -> float:
        return 0.0 if rank is None else one._curves[name][rank]

    every = list(product(*([*one._ladders[name], None] for name in NAMES)))
    whole = total((None,) * 3, price)
    allowed = [ranks for ranks in every if one.whole(measure) - whole + total(ranks, price) <= limit]
    best = min(total(ranks, loss) for ranks in allowed)
    assert total([found.get(name) for name in NAMES], loss) == pytest.approx(best)


def test_all_that_is_allowed_leaves_all_whole(model):
    assert spread(model).within("macs", float(cost.macs(model))) == {}


def test_what_was_banned_is_not_chosen(model):
    one = spread(model)
    limit = 0.7 * one.whole("macs")
    name, rank = next(iter(one.within("macs", limit).items()))
    one.ban(name, rank, above=False)
    assert one.within("macs", limit).get(name) != rank
    least = one._ladders[name][0]
    one.ban(name, least, above=True)
    assert not one._ladders[name]
    assert name not in one.within("macs", 0.9 * one.whole("macs"))


def test_a_rank_at_which_a_layer_cannot_be_taken_apart_is_left_out_of_the_scan(model):
    ladder = spread(model)._ladders["hidden"]
    one = spread(model, fails=[("hidden", ladder[0])])
    assert one._curves["hidden"][ladder[0]] >= one._curves["hidden"][ladder[1]] > 0


def test_out_of_reach(model):
    with pytest.raises(ParingError, match=r"the lowest ranks come to .* of the macs, the budget is 1\.0 %"):
        spread(model).within("macs", 0.01 * cost.macs(model))


def test_of_many_ranks_a_few_are_offered_the_highest_among_them():
    ladder = [(rank,) for rank in range(1, 101)]
    few = budget._thinned(ladder)
    assert len(few) <= 32
    assert few[-1] == (100,)
    assert few == sorted(few)
    assert budget._thinned(ladder[:5]) == ladder[:5]
    assert budget._thinned([]) == []
