"""Factors by singular values: exact at full rank, whatever the layer's options; the rest by the metric."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paring.steps.factorize.low_rank.factors import filled
from paring.steps.factorize.low_rank.metric import PLAIN, Metric
from paring.steps.factorize.low_rank.moments import patches
from paring.steps.factorize.low_rank.svd import Svd
from paring.testing.layers import LAYERS, drawn_layer, metric_of

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


@settings(max_examples=60)
@given(LAYERS, st.booleans())
def test_at_full_rank_the_layer_is_reproduced(options, aware):
    layer, x = drawn_layer(options)
    split = Svd().split(layer, metric_of(layer, x) if aware else PLAIN, None)
    with torch.no_grad():
        torch.testing.assert_close(filled(split.factors(split.most))(x), layer(x), rtol=1e-4, atol=1e-4)
    assert split.kept(split.most) == pytest.approx(1)


@settings(max_examples=40)
@given(LAYERS, st.integers(1, 6))
def test_on_what_a_layer_reads_it_errs_no_more_than_the_plain_one(options, rank):
    layer, x = drawn_layer(options)
    metric, weight = metric_of(layer, x), layer.weight.detach().double()
    rows = patches(layer, x).double()

    def error(found) -> float:
        chain = filled(found.factors((rank,)))
        wanted, got = layer(x), chain(x)
        return float((wanted - got).double().square().sum())

    rank = min(rank, *Svd().split(layer, PLAIN, None).most)
    with torch.no_grad():
        aware, plain = (error(Svd().split(layer, one, None)) for one in (metric, PLAIN))
    assert aware <= plain * (1 + 1e-3) + 1e-6 * float((rows @ weight.flatten(1).T).square().sum())


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 12), st.integers(0, 99))
def test_of_a_linear_layer_the_error_is_the_discarded_values(inputs, outputs, rank, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs)
    rank = min(rank, inputs, outputs)
    split = Svd().split(layer, PLAIN, None)
    first, second = filled(split.factors((rank,)))
    values = torch.linalg.svdvals(layer.weight.detach().double())
    with torch.no_grad():
        lost = float((layer.weight - second.weight @ first.weight).square().sum())
    assert lost == pytest.approx(float(values[rank:].square().sum()), rel=1e-4, abs=1e-6)
    assert 1 - split.kept((rank,)) == pytest.approx(lost / float(values.square().sum()), abs=1e-5)
    torch.testing.assert_close(first.weight.norm(dim=1), second.weight.norm(dim=0))


def table(padding: int | None) -> nn.Embedding:
    torch.manual_seed(0)
    layer = nn.Embedding(20, 6, padding_idx=padding)
    with torch.no_grad():
        layer.weight[3] = torch.randn(6)  # trained models have been seen to have any row there
    return layer.eval()


@pytest.mark.parametrize("padding", [None, 3])
def test_a_table_is_reproduced_at_full_rank_and_its_padding_at_any(padding):
    layer, every = table(padding), torch.arange(20)
    split = Svd().split(layer, PLAIN, torch.ones(20))
    torch.testing.assert_close(filled(split.factors((6,)))(every), layer(every), rtol=1e-4, atol=1e-5)
    low = filled(split.factors((1,)))
    assert low[0].padding_idx == padding
    if padding is not None:
        torch.testing.assert_close(low(every[3]), layer(every[3]), rtol=1e-4, atol=1e-5)


def test_a_padding_of_zeros_stays_exactly_zero():
    layer = nn.Embedding(20, 6, padding_idx=3)
    assert not filled(Svd().split(layer, PLAIN, None).factors((2,)))(torch.tensor(3)).any()


def test_rows_that_are_looked_up_count_more():
    layer = table(None)
    counts = torch.zeros(20)
    counts[:3] = 1000

    def error(given) -> torch.Tensor:
        found = filled(Svd().split(layer, PLAIN, given).factors((3,)))
        return (found(torch.arange(20)) - layer(torch.arange(20))).square().sum(1).detach()

    assert float(error(counts)[:3].sum()) < 0.1 * float(error(None)[:3].sum())
    assert float(error(counts).sum()) > float(error(None).sum())


def test_of_wide_layers_the_channels_tell():
    layer, x = drawn_layer({"kernel": (3, 3)})
    metric = metric_of(layer, x)
    split = Svd().split(layer, Metric(None, metric.channels), None)
    with torch.no_grad():
        torch.testing.assert_close(filled(split.factors(split.most))(x), layer(x), rtol=1e-4, atol=1e-4)
