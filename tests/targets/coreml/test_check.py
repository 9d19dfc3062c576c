"""What coremltools cannot translate is told before any work."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.core.model import Model, Source, TensorSpec
from paring.targets.coreml import CoreML
from paring.testing.models import tiny


def of(module: nn.Module) -> Model:
    spec = TensorSpec.of("x", (8,))
    return Model(module.eval(), Source("torch:module"), (spec,), (TensorSpec("y", ("batch", 8)),))


class Masked(nn.Module):
    """Operators that coremltools lacks, made of ones that it has."""

    def forward(self, x: Tensor) -> Tensor:
        """float32, shape (batch, 8) -> the same shape."""
        return torch.where((x > 0) & (x < 1), x, 0.5) * x.new_ones(8)


class Circular(nn.Module):
    """An operator with an option that its translation refuses."""

    def forward(self, x: Tensor) -> Tensor:
        """float32, shape (batch, 8) -> the same shape."""
        return functional.pad(x[:, None], (1, 1), mode="circular")[:, 0, :8]


def test_what_can_be_taken_apart_is_no_problem() -> None:
    assert not CoreML().check(of(Masked()))


def test_types_and_names_that_a_package_cannot_have_are_told_together() -> None:
    odd = replace(tiny(), outputs=(TensorSpec("logits:0", ("batch", 10), "float64"),))
    found = CoreML().check(odd)
    assert [one.where for one in found] == ["logits:0", "logits:0"]
    assert ["float64" in found[0].problem, "letters" in found[1].problem] == [True, True]


def test_what_a_translation_refuses_is_told_in_its_words() -> None:
    (found,) = CoreML().check(of(Circular()))
    assert "cannot translate it: Pad mode should be" in found.problem
    assert (found.severity, found.where) == ("refuses", "torch:module")
