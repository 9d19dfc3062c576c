"""Tucker-2: exact at full rank, nearer with data, ranks on both sides."""

from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from paring.steps.factorize.low_rank.factors import filled
from paring.steps.factorize.low_rank.metric import PLAIN, Metric
from paring.steps.factorize.low_rank.split import NoFactors
from paring.steps.factorize.low_rank.tucker import Tucker
from paring.testing.layers import LAYERS, drawn_layer, metric_of

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")
KERNELS = LAYERS.filter(lambda options: max(options["kernel"]) > 1)


@settings(max_examples=40)
@given(KERNELS, st.sampled_from(["plain", "whole", "channels"]))
def test_at_full_rank_the_layer_is_reproduced(options, aware):
    layer, x = drawn_layer(options)
    metric = metric_of(layer, x)
    split = Tucker().split(
        layer, {"plain": PLAIN, "whole": metric, "channels": Metric(None, metric.channels)}[aware], None
    )
    with torch.no_grad():
        torch.testing.assert_close(filled(split.factors(split.most))(x), layer(x), rtol=1e-3, atol=1e-3)
    assert split.kept(split.most) == pytest.approx(1)


@settings(max_examples=30)
@given(KERNELS, st.integers(1, 3), st.integers(1, 4))
def test_on_what_a_layer_reads_it_errs_no_more_than_the_plain_one(options, given_side, taken_side):
    layer, x = drawn_layer(options)

    places = layer.weight[0, 0].numel()
    assume(taken_side <= given_side * places and given_side <= taken_side * places)

    def error(metric) -> float:
        with torch.no_grad():
            found = filled(Tucker().split(layer, metric, None).factors((given_side, taken_side)))
            return float((found(x) - layer(x)).double().square().sum())

    assert error(metric_of(layer, x)) <= error(PLAIN) * (1 + 1e-3) + 1e-4


@settings(max_examples=20)
@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 6))
def test_what_is_kept_is_never_overstated(seed, given_side, taken_side):
    layer, _ = drawn_layer({"kernel": (3, 3), "seed": seed})
    split = Tucker().split(layer, PLAIN, None)
    first, core, last = filled(split.factors((given_side, taken_side)))
    with torch.no_grad():
        product = torch.einsum("ai,bahw,ob->oihw", first.weight[..., 0, 0], core.weight, last.weight[..., 0, 0])
        lost = float((product - layer.weight).square().sum() / layer.weight.square().sum())
    assert 1 - lost >= split.kept((given_side, taken_side)) - 1e-5


def test_of_channels_alone_the_input_side_loses_the_discarded_values():
    layer, x = drawn_layer({"kernel": (3, 3), "bias": False})
    metric = Metric(None, metric_of(layer, x).channels)
    weight = layer.weight.detach().double()
    weighed = torch.tensordot(weight, metric.root, ([1], [0])).movedim(-1, 0).flatten(1)
    for rank in (1, 2, 3):
        first, core, last = filled(Tucker().split(layer, metric, None).factors((rank, 6)))
        with torch.no_grad():
            product = torch.einsum("ai,bahw,ob->oihw", first.weight[..., 0, 0], core.weight, last.weight[..., 0, 0])
        wanted = float(torch.linalg.svdvals(weighed)[rank:].square().sum())
        assert metric.loss(weight - product.double()) == pytest.approx(wanted, rel=1e-3)


def test_ranks_that_do_not_go_together_are_refused():
    layer, _ = drawn_layer({"kernel": (2, 1)})
    split = Tucker().split(layer, PLAIN, None)
    with pytest.raises(NoFactors, match="rank 1×3: one side cannot be more than 2 times the other"):
        split.factors((1, 3))
    assert all(b <= 2 * a and a <= 2 * b for a, b in split.ladder(1))


def test_the_ladder_goes_from_the_least_to_the_whole():
    layer, _ = drawn_layer({"kernel": (3, 3)})
    ladder = Tucker().split(layer, PLAIN, None).ladder(2)
    assert (ladder[0], ladder[-1]) == ((2, 2), (4, 6))
    assert all(a <= c and b <= d and (a, b) != (c, d) for (a, b), (c, d) in pairwise(ladder))
