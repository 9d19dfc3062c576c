"""torch's attention, unpacked."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paring import load
from paring.core.model import Invariant
from paring.steps.prune.structure import unpack
from paring.testing.models import TinyTask

ATTENTION = "torch:paring.testing.structures:attention"


@given(
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "bool", "float", "each head"]),
    st.sampled_from([None, "bool", "float"]),
    st.sampled_from([None, "mean", "each"]),
    st.booleans(),
)
def test_it_answers_as_torch_s(batch_first, bias, others, masked, padded, weighed, single):
    torch.manual_seed(0)
    batch, queries, keys, heads = 1 if single else 3, 4, 5, 2
    sizes = {"kdim": 6, "vdim": 10} if others else {}
    packed = nn.MultiheadAttention(8, heads, bias=bias, batch_first=batch_first, **sizes)
    if bias:
        nn.init.normal_(packed.in_proj_bias)
        nn.init.normal_(packed.out_proj.bias)
    widths = (8, 6, 10) if others else (8, 8, 8)
    given = [torch.randn(batch, n, w) for n, w in zip((queries, keys, keys), widths, strict=True)]
    if single:
        given = [one[0] for one in given]
    elif not batch_first:
        given = [one.transpose(0, 1) for one in given]
    hidden = torch.rand(batch * heads, queries, keys) < 0.3
    hidden[..., 0] = False
    hidden = hidden if masked == "each head" else hidden[0]
    padding = torch.rand(batch, keys) < 0.3
    padding[..., 0] = False
    padding = padding[0] if single else padding
    numbers = torch.randn(queries, keys) if masked == "float" else None
    options = {
        "attn_mask": None if masked is None else numbers if numbers is not None else hidden,
        "key_padding_mask": None if padded is None else padding if padded == "bool" else padding.float() * -2,
        "need_weights": weighed is not None,
        "average_attn_weights": weighed == "mean",
    }
    if (masked, padded) in {("bool", "float"), ("each head", "float"), ("float", "bool")}:
        return  # which torch warns of
    found, weights = unpack.Attention(packed)(*given, **options)
    wanted, wanted_weights = packed(*given, **options)
    torch.testing.assert_close(found, wanted)
    assert (weights is None) == (wanted_weights is None)
    if weights is not None:
        torch.testing.assert_close(weights, wanted_weights)


@pytest.mark.parametrize("training", [True, False])
def test_torch_s_layers_take_it(training: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2)
    for network, count in ((layer, 2), (encoder, 1)):
        network.train(training)
        values = [torch.randn(2, 5, 8) for _ in range(count)]
        wanted = network(*values)
        other = copy.deepcopy(network)
        for name, part in network.named_modules():
            if isinstance(part, nn.MultiheadAttention):
                other.set_submodule(name, unpack.Attention(part))
        assert not any(isinstance(one, nn.MultiheadAttention) for one in other.modules())
        torch.testing.assert_close(other(*values), wanted)


def test_a_mask_that_is_only_said_to_be_causal_is_refused_as_by_torch() -> None:
    packed = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(1, 3, 8)
    for attend in (packed, unpack.Attention(packed)):
        with pytest.raises(RuntimeError):
            attend(x, x, x, is_causal=True, need_weights=False)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 10}])
def test_what_was_frozen_stays_frozen(sizes: dict[str, int]) -> None:
    packed = nn.MultiheadAttention(8, 2, **sizes)
    packed.out_proj.weight.requires_grad_(False)
    packed.in_proj_bias.requires_grad_(False)
    frozen = {name for name, one in unpack.Attention(packed).named_parameters() if not one.requires_grad}
    assert frozen == {"out_proj.weight", "q_proj.bias", "k_proj.bias", "v_proj.bias"}


def test_dropout_is_for_training_only() -> None:
    attend = unpack.Attention(nn.MultiheadAttention(8, 2, dropout=0.9, batch_first=True))
    x = torch.randn(1, 6, 8)
    for weighed in (True, False):
        one, other = (attend.eval()(x, x, x, need_weights=weighed)[0] for _ in range(2))
        assert torch.equal(one, other)
        assert not torch.equal(attend.train()(x, x, x, need_weights=weighed)[0], one)


def test_a_model_says_what_was_unpacked_and_is_itself_where_nothing_can_be() -> None:
    model = load.open(ATTENTION, shape=(1, 8, 8))
    found = unpack.opened(model)
    assert [edit.data for edit in found.edits] == [{"layers": ["layer.self_attn"]}]
    inputs = next(TinyTask().batches("test", 4)).inputs
    torch.testing.assert_close(found(inputs)["output"], model(inputs)["output"])
    assert isinstance(model.module.layer.self_attn, nn.MultiheadAttention)
    assert unpack.opened(found) is found
    assert unpack.opened(model, names=["layer.other"]) is model
    shaped = replace(model, invariants=(Invariant("sparsity", "layer.self_attn.in_proj_weight", {}),))
    assert unpack.opened(shaped) is shaped


def test_what_several_places_share_stays_shared() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = self.other = nn.MultiheadAttention(8, 2, batch_first=True)

    model = replace(load.open(ATTENTION, shape=(1, 8, 8)), module=Twice())
    found = unpack.opened(model).module
    assert isinstance(found.one, unpack.Attention)
    assert found.one is found.other


def test_attention_that_does_more_stays() -> None:
    class Own(nn.MultiheadAttention):
        pass

    assert "of its own" in (unpack.why_whole(nn.MultiheadAttention(8, 2, add_zero_attn=True)) or "")
    assert "of its own" in (unpack.why_whole(nn.MultiheadAttention(8, 2, add_bias_kv=True)) or "")
    assert "Own may do more" in (unpack.why_whole(Own(8, 2)) or "")
    assert unpack.why_whole(nn.MultiheadAttention(8, 2)) is None
