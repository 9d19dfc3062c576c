"""Masks by size, and which tensors they are for."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paring import load
from paring.core.errors import ParingError
from paring.core.model import Invariant, Model, Source, TensorSpec
from paring.load import probe
from paring.steps.prune.sparsity.masks import by_size, largest, zeros_hold, zeros_of
from paring.steps.prune.sparsity.tensors import chosen, weights
from paring.testing.models import quantized, tiny

# few values, so that many are equal
SIZES = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(lambda found: torch.tensor(found).float())
SHARES = st.floats(0, 1, exclude_max=True)


@given(SIZES, st.data())
def test_the_largest_are_exactly_so_many_and_none_left_is_larger(sizes: Tensor, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, sizes.numel()))
    mask = largest(sizes, count)
    assert int(mask.sum()) == count
    if 0 < count < sizes.numel():
        assert sizes[mask].min() >= sizes[~mask].max()
        equal = sizes == sizes[mask].min()
        assert not (mask & equal)[int((equal & ~mask).int().argmax()) :].any() or not (equal & ~mask).any()


@given(st.lists(SIZES, min_size=1, max_size=4), SHARES, st.sampled_from(["layer", "global"]))
def test_the_share_is_exact_to_one_weight(sizes: list[Tensor], share: float, scope: str) -> None:
    masks = by_size(sizes, share, scope)  # type: ignore[arg-type]
    parts = [(one, mask) for one, mask in zip(sizes, masks, strict=True)]
    if scope == "global":
        parts = [(torch.cat(sizes), torch.cat(masks))]
    for one, mask in parts:
        assert abs(int((~mask).sum()) - share * one.numel()) <= 0.5 + 1e-6
        if 0 < int(mask.sum()) < mask.numel():
            assert one[mask].min() >= one[~mask].max()
    assert [mask.shape for mask in masks] == [one.shape for one in sizes]


@given(SIZES, SHARES, SHARES)
def test_masks_of_more_zeros_lie_within_those_of_fewer(sizes: Tensor, one: float, other: float) -> None:
    few, many = (by_size([sizes], share, "layer")[0] for share in sorted((one, other)))
    assert not (many & ~few).any()


def test_shares_are_rounded_as_written() -> None:
    assert [zeros_of(0.7, 10), zeros_of(0.25, 2), zeros_of(0.75, 2)] == [7, 1, 2]


class Everything(nn.Module):
    """Tensors that multiply, and tensors that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.places = nn.Embedding(6, 8)
        self.offset = nn.Parameter(torch.randn(6, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm([6, 8])
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.up = nn.ConvTranspose1d(8, 4, 2)
        self.bare = nn.Parameter(torch.randn(4, 8))
        self.out = nn.Linear(8, 20)
        self.out.weight = self.embedding.weight
        self.unused = nn.Linear(3, 3)

    def forward(self, ids: Tensor) -> Tensor:
        """int64, shape (batch, 6) -> (batch, 7, 20)."""
        x = self.embedding(ids) + self.places(torch.arange(6)) + self.offset
        x, _ = self.attention(x, x, x, need_weights=False)
        x, _ = self.lstm(self.norm(x))
        answer: Tensor = self.out(self.up(x.transpose(1, 2)).transpose(1, 2) @ self.bare)
        return answer


@pytest.fixture(scope="module")
def everything() -> Model:
    return probe.model(Everything().eval(), Source("test"), (TensorSpec("ids", ("batch", 6), "int64", range=(0, 19)),))


def test_tensors_are_known_by_what_computes_with_them(everything: Model) -> None:
    found = {one.name: one for one in weights(everything)}
    assert {name: one.kind for name, one in found.items() if not one.reason} == {
        "embedding.weight": "embedding",
        "attention.in_proj_weight": "linear",
        "attention.out_proj.weight": "linear",
        "lstm.weight_ih_l0": "recurrent",
        "lstm.weight_hh_l0": "recurrent",
        "up.weight": "transposed",
        "bare": "matrix",
    }
    assert {name for name, one in found.items() if one.reason} == {
        "places.weight",
        "offset",
        "norm.weight",
        "norm.bias",
    }
    assert [name for name, one in found.items() if "first" in one.kinds] == ["attention.in_proj_weight"]
    assert [name for name, one in found.items() if "last" in one.kinds] == ["bare"]
    assert found["embedding.weight"].kinds == {"embedding", "linear"}  # tied


def test_kinds_and_names_of_layers_choose() -> None:
    def names(*layers: str, keep: tuple[str, ...] = ()) -> list[str]:
        return chosen(tiny(), layers, keep, "here")[0]

    assert names("@depthwise") == ["body.0.weight"]
    assert names("@conv") == ["stem.0.weight", "body.3.weight"]
    assert names("body.3", "classifier*") == ["body.3.weight", "classifier.weight"]
    assert names(keep=("@first", "@last")) == ["body.0.weight", "body.3.weight"]
    with pytest.raises(ParingError, match="quantized model cannot be pruned"):
        chosen(quantized(), (), (), "here")


def test_a_network_with_one_layer_has_both_ends() -> None:
    network = probe.model(nn.Linear(3, 3).eval(), Source("test"), (TensorSpec("x", ("batch", 3)),))
    (only,) = weights(network)
    assert only.kinds == {"linear", "first", "last"}


def test_a_transformer_gives_all_its_matrices() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = load.open(f"hf:bert(config={ {**sizes, 'vocab_size': 50, 'max_position_embeddings': 32} }, length=8)")
    kinds = [one.kind for one in weights(model) if not one.reason]
    assert kinds.count("linear") == 8
    assert [one.name.rpartition(".")[0][-19:] for one in weights(model) if one.reason] == ["position_embeddings"]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [([1, 1, 0, 0, 0, 0, 1, 1], None), ([1, 1, 1, 0, 0, 0, 0, 1], "no longer 2:4"), ([1] * 5 + [0] * 3, "37.5 %")],
)
def test_groups_are_checked_along_their_axis(pattern: list[int], told: str | None) -> None:
    value = {"zeros": 0.5, "n": 2, "m": 4, "axis": 0}
    layer = nn.Linear(1, 8)
    layer.weight.data = torch.tensor(pattern).float()[:, None]
    found = zeros_hold(replace(tiny(), module=layer), Invariant("sparsity", "weight", value))
    assert found is None if told is None else told in str(found)
