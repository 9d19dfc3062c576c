"""The last layer fitted anew."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paring import load
from paring.steps import readout
from paring.steps.losses import Losses
from paring.testing.models import TinyTask, tiny

MODEL = load.open("torch:paring.testing.structures:chain", shape=(1, 8, 8))


@given(st.integers(0, 1000), st.integers(2, 8), st.integers(24, 96))
def test_answers_that_a_linear_layer_can_still_read_are_read(seed: int, width: int, samples: int) -> None:
    torch.manual_seed(seed)
    features = torch.randn(samples, width)
    wanted = features @ torch.randn(width, 3) + torch.randn(3)
    found = wanted + features @ torch.randn(width, 3) + 5  # a last layer that is off, and biased
    errors = [float((one - wanted).square().mean()) for one in readout.refitted(features, found, wanted)]
    assert min(errors) < 1e-3 * float((found - wanted).square().mean())


def test_what_the_features_do_not_tell_is_not_learned_by_heart() -> None:
    torch.manual_seed(0)
    features, wanted = torch.randn(64, 200), torch.randn(64, 3)  # wide enough to learn every sample by heart
    found = torch.zeros(64, 3)
    before = float((found - wanted).square().mean())
    assert all(
        float((one - wanted).square().mean()) > 0.9 * before for one in readout.refitted(features, found, wanted)
    )


def test_too_few_samples_for_halves_are_left_alone() -> None:
    assert list(readout.refitted(torch.ones(3, 2), torch.ones(3, 1), torch.zeros(3, 1))) == []


class Ends(nn.Module):
    """Answers from a linear layer, from one with a softmax behind it, and from a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 3), nn.Linear(4, 3), nn.Conv1d(1, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three answers."""
        return self.first(x), self.second(x).softmax(-1), self.third(x[:, None]).mean(2)


def test_it_is_the_layer_that_gives_the_answer() -> None:
    network = Ends()
    found = readout.layers(network, lambda: dict(zip("abc", network(torch.zeros(2, 4)), strict=True)))
    assert found == {"a": "first"}


def test_hooks_are_taken_off_again() -> None:
    module = tiny().module
    layers = readout.layers(module, lambda: {"logits": module(torch.zeros(2, 1, 8, 8))})
    with readout.watching(module, layers) as features:
        module(torch.zeros(2, 1, 8, 8))
    module(torch.zeros(2, 1, 8, 8))
    assert [one.shape[0] for one in features["logits"]] == [2]


def test_a_loss_that_the_last_layer_makes_good_does_not_count() -> None:
    other = copy.deepcopy(MODEL.module)
    with torch.no_grad():
        other.classifier.weight += 0.3 * torch.randn(other.classifier.weight.shape)
    plain, fitted = (Losses(MODEL, TinyTask(), 64, 16, readout=one)(copy.deepcopy(other)) for one in (False, True))
    assert fitted < 0.05 * plain


def test_it_never_makes_a_loss_larger() -> None:
    other = copy.deepcopy(MODEL.module)
    for seed in range(3):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=0.05)
        plain, fitted = (Losses(MODEL, TinyTask(), 32, 16, readout=one)(copy.deepcopy(other)) for one in (False, True))
        assert fitted <= plain + 1e-9
    assert Losses(MODEL, TinyTask(), 32, 16, readout=True)(copy.deepcopy(MODEL.module)) == pytest.approx(0, abs=1e-6)
