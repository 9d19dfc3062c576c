"""Canonical polyadic decomposition: found where there is one, and refused where it runs away."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paring.steps.factorize.low_rank import cp
from paring.steps.factorize.low_rank.cp import Cp, settled
from paring.steps.factorize.low_rank.factors import filled
from paring.steps.factorize.low_rank.metric import PLAIN
from paring.steps.factorize.low_rank.split import NoFactors
from paring.testing.layers import LAYERS, drawn_layer, metric_of

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")
KERNELS = LAYERS.filter(lambda options: max(options["kernel"]) > 1)


def of_rank(layer: torch.nn.Module, rank: int, seed: int) -> None:
    """Gives a convolution a weight of that rank."""
    chance = torch.Generator().manual_seed(seed)
    parts = [torch.linalg.qr(torch.randn(max(size, rank), rank, generator=chance)).Q for size in layer.weight.shape]
    letters = "abcd"[: layer.weight.ndim]
    with torch.no_grad():
        cut = [one[:size] + 0.1 for one, size in zip(parts, layer.weight.shape, strict=True)]
        layer.weight.copy_(torch.einsum(",".join(f"{a}r" for a in letters) + "->" + letters, *cut))


@settings(max_examples=25)
@given(KERNELS, st.booleans())
def test_a_layer_of_the_rank_is_reproduced_whatever_its_options(options, aware):
    layer, x = drawn_layer(options)
    of_rank(layer, 2, options["seed"])
    split = Cp(0).split(layer, metric_of(layer, x) if aware else PLAIN, None)
    with torch.no_grad():
        wanted = layer(x)
        found = filled(split.factors((3,)))(x)
    assert float((found - wanted).norm() / wanted.norm()) < 0.02


def test_the_outputs_count_where_there_are_data():
    layer, x = drawn_layer({"kernel": (3, 3)})

    def error(metric) -> float:
        with torch.no_grad():
            return float((filled(Cp(0).split(layer, metric, None).factors((6,)))(x) - layer(x)).square().sum())

    assert error(metric_of(layer, x)) < 0.6 * error(PLAIN)


def test_what_is_kept_is_what_the_components_give():
    layer, _ = drawn_layer({"kernel": (3, 3)})
    split = Cp(0).split(layer, PLAIN, None)
    one = filled(split.factors((6,)))
    weights = [part.weight.detach() for part in one]
    product = torch.einsum("ri,rh,rw,or->oihw", weights[0][..., 0, 0], weights[1][:, 0, :, 0], weights[2][:, 0, 0],
                           weights[3][..., 0, 0])  # fmt: skip
    whole = layer.weight.detach()
    lost = float((product - whole).square().sum() / whole.square().sum())
    assert 0 <= 1 - lost - split.kept((6,)) < 0.05  # the last of them is fitted once more


def degenerate() -> np.ndarray:
    """A tensor of rank 3 that tensors of rank 2 come as near to as one likes (de Silva and Lim 2008)."""
    a, b = np.eye(2)
    parts = [(a, a, b), (a, b, a), (b, a, a)]
    return sum(np.einsum("i,j,k->ijk", *one) for one in parts)


def test_components_that_cancel_are_refused(monkeypatch):
    monkeypatch.setattr(cp, "_RIDGE", 0.0)
    monkeypatch.setattr(cp, "_SWOLLEN", 5.0)
    with pytest.raises(NoFactors, match="CP does not converge at rank 2: components cancel each other"):
        settled(degenerate(), 2, 0)


def test_the_ridge_keeps_them_from_it():
    factors, error = settled(degenerate(), 2, 0)
    assert error < 0.05
    energy = sum(float(np.prod([np.linalg.norm(one[:, r]) ** 2 for one in map(np.asarray, factors)])) for r in (0, 1))
    assert energy < 10 * 3


def test_what_still_falls_is_refused(monkeypatch):
    monkeypatch.setattr(cp, "_SWEEPS", 2)
    layer, _ = drawn_layer({"kernel": (3, 3)})
    with pytest.raises(NoFactors, match="the error still fell after 2 sweeps"):
        Cp(0).split(layer, PLAIN, None).factors((6,))


def test_the_same_seed_gives_the_same_factors():
    layer, _ = drawn_layer({"kernel": (3, 3)})
    one, other = (Cp(7).split(layer, PLAIN, None).factors((9,)) for _ in range(2))
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(one, other, strict=True))
