"""Which layers can be taken apart."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from paring import load
from paring.core.model import Invariant, Model, Source, TensorSpec
from paring.steps.factorize.low_rank.layers import find


class Odd(nn.Module):
    """A layer for each reason."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Linear(8, 8)
        self.read = nn.Linear(8, 8)
        self.typed = nn.Linear(8, 8)
        self.called_by_weight = nn.Linear(8, 8)
        self.unused = nn.Linear(8, 8)
        self.tied, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.other.weight = self.tied.weight
        self.grouped = nn.Conv1d(8, 8, 1, groups=2)
        self.transposed = nn.ConvTranspose1d(8, 8, 1)
        self.solid = nn.Conv3d(1, 1, 1)
        self.twice = self.alias = nn.Linear(8, 8)
        self.normed = parametrizations.weight_norm(nn.Linear(8, 8))
        self.broken, self.empty, self.pruned, self.wide = (nn.Linear(8, 8) for _ in range(4))
        with torch.no_grad():
            self.broken.weight[0, 0] = torch.inf
            self.empty.weight.zero_()
        self.bounded = nn.Embedding(4, 8, max_norm=1.0)
        self.constant = nn.Embedding(8, 8)
        self.wide.double()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, 8)."""
        x = self.fine(x) + self.read(x) * self.read.weight.mean() + self.other(self.tied(x))
        x = self.typed(x) if isinstance(self.typed, nn.Linear) else x
        x = x @ self.called_by_weight.weight
        x = self.transposed(self.grouped(x[..., None]))[..., 0] + self.solid(x[:, None, None, None])[:, 0, 0, 0]
        x = self.twice(x) + self.alias(x) + self.normed(x) + self.pruned(x) + self.wide(x.double()).float()
        x = x + self.bounded((x > 0).long()).mean(1) + self.constant(torch.arange(8)).mean(0)
        return x + self.empty(x) + torch.nan_to_num(self.broken(x), 0, 0, 0)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    ends = TensorSpec("x", ("batch", 8)), TensorSpec("y", ("batch", 8))
    made = Model(Odd().eval(), Source("odd"), ends[:1], ends[1:])
    pruned = Invariant("sparsity", "pruned.weight", {"zeros": 0.5})
    return replace(made, invariants=(pruned, Invariant("rank", "elsewhere", {"0.weight": [0, 2]})))


def test_each_reason_is_told(model):
    reasons = {layer.name: layer.reason for layer in find(model, lambda layer: "")}
    assert reasons.pop("fine") == ""
    for name, told in {
        "read": "the code around it wants the layer itself ('Sequential' object has no attribute 'weight')",
        "typed": "the code around it wants the layer itself (the answers change)",
        "called_by_weight": "the code around it reads its weight",
        "unused": "it is never called",
        "tied": "it shares its weight",
        "other": "it shares its weight",
        "grouped": "it works in 2 groups",
        "transposed": "it is a transposed convolution",
        "solid": "Conv3d has no rule for factors",
        "normed": "it computes otherwise than an nn.Linear",
        "broken": "its weight holds NaN or infinite values",
        "empty": "its weight is 0",
        "pruned": "its weights are pruned, and factors would not keep the zeros",
        "wide": "its weight is float64",
        "bounded": "it bounds the norm of its rows",
        "constant": "it looks up the same rows always, which an exported file holds as a constant",
    }.items():
        assert reasons[name] == told, name
    assert reasons["twice"] or reasons["alias"]


def test_the_method_has_its_reasons_too(model):
    (fine,) = (layer for layer in find(model, lambda layer: "not this one") if layer.name == "fine")
    assert fine.reason == "not this one"


def test_kinds_shapes_and_order():
    model = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))
    found = {layer.name: layer for layer in find(model, lambda layer: "")}
    assert next(iter(found)) == "stem.0"
    assert found["stem.0"].kinds == {"conv", "first"}
    assert found["shortcut"].kinds == {"conv", "pointwise"}
    assert found["classifier"].kinds == {"linear", "last"}
    assert found["down"].shapes == ((1, 16, 8, 8),)


def test_a_layer_that_runs_twice_is_one_layer():
    model = load.open("torch:paring.testing.structures:shared", shape=(1, 8, 8))
    found = {layer.name: layer for layer in find(model, lambda layer: "")}
    assert found["body.0"].shapes == ((1, 16, 8, 8),) * 2
    assert not found["body.0"].reason
    assert found["first"].reason == found["second"].reason == "it shares its weight"


def test_attention_hands_its_matrices_around():
    model = load.open("torch:paring.testing.structures:attention", shape=(1, 8, 8))
    reasons = {layer.name: layer.reason for layer in find(model, lambda layer: "")}
    assert reasons["layer.self_attn.out_proj"] == "the code around it reads its weight"
    assert "has no attribute 'weight'" in reasons["layer.linear1"]
    assert reasons["embed"] == ""
