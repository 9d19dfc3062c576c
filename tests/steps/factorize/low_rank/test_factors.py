"""Factors as data and as modules."""

import torch
from torch import nn

from paring.core.model import Model, Source, TensorSpec
from paring.measure import cost as measured
from paring.steps.factorize.low_rank.factors import Factor, chain, convolution, cost, filled, linear, widths

LAYER = nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2))


def test_a_part_works_along_its_axes_alone():
    whole = convolution(LAYER, 4, 6, range(2), bias=True)
    assert str(chain([whole])[0]) == str(LAYER)
    down, across = (chain([convolution(LAYER, 4, 6, [axis])])[0] for axis in (0, 1))
    assert (down.kernel_size, down.stride, down.padding, down.dilation) == ((3, 1), (2, 1), (1, 0), (1, 1))
    assert (across.kernel_size, across.stride, across.padding, across.dilation) == ((1, 5), (1, 1), (0, 2), (1, 2))


def test_costs_are_those_of_the_network_that_the_factors_make():
    layouts = [convolution(LAYER, 4, 3, [0]), convolution(LAYER, 3, 6, [1], bias=True)]
    ends = TensorSpec("x", ("batch", 4, 9, 9)), TensorSpec("y", ("batch", 6, 5, 5))
    model = Model(chain(layouts), Source("factors"), ends[:1], ends[1:])
    found = cost(layouts, [(1, 4, 9, 9)])
    assert (found.macs, found.parameters) == (measured.macs(model), measured.parameters(model))
    assert cost(layouts, [(1, 4, 9, 9)] * 2).macs == 2 * found.macs
    table = [{"layer": "Embedding", "num_embeddings": 9, "embedding_dim": 2, "padding_idx": None}]
    looked_up = cost([*table, linear(2, 5, bias=False)], [(1, 7)])
    assert (looked_up.macs, looked_up.parameters) == (7 * 2 * 5, 9 * 2 + 2 * 5)


def test_channels_weigh_alike_on_both_sides_and_the_product_stays():
    layouts = [convolution(LAYER, 4, 3), convolution(LAYER, 3, 3, [0], groups=3), convolution(LAYER, 3, 6, bias=True)]
    torch.manual_seed(0)
    weights = [torch.randn(part.weight.shape) * size for part, size in zip(chain(layouts), (100, 1, 0.01), strict=True)]
    bias = torch.randn(6)
    found = filled([Factor(*one) for one in zip(layouts, weights, (None, None, bias), strict=True)])
    norms = [
        part.weight.detach().transpose(0, axis).flatten(1).norm(dim=1)
        for part, axis in zip(found, (0, 0, 1), strict=True)
    ]
    assert all(0.1 < float(ratio) < 10 for ratio in norms[0] / norms[2])
    plain = chain(layouts)
    with torch.no_grad():
        for part, weight in zip(plain, weights, strict=True):
            part.weight.copy_(weight)
        plain[2].bias.copy_(bias)
        x = torch.randn(1, 4, 9, 9)
        torch.testing.assert_close(found(x), plain(x))


def test_a_dead_channel_stays_dead():
    layouts = [linear(3, 2, bias=False), linear(2, 3, bias=False)]
    dead = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    found = filled([Factor(layouts[0], dead), Factor(layouts[1], torch.ones(3, 2))])
    assert torch.isfinite(found(torch.ones(3))).all()
    assert not found[0].weight[1].any()


def test_widths_lie_between_factors():
    layouts = [convolution(LAYER, 4, 3), convolution(LAYER, 3, 5, range(2)), convolution(LAYER, 5, 6)]
    assert widths(layouts) == {"0.weight": [0, 3], "1.weight": [0, 5]}
    table = {"layer": "Embedding", "num_embeddings": 9, "embedding_dim": 2, "padding_idx": None}
    assert widths([table, linear(2, 4, bias=False)]) == {"0.weight": [1, 2]}
