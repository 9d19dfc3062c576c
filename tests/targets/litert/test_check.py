"""Whether LiteRT can run a model: what its converter knows is remembered."""

from dataclasses import replace
from pathlib import Path
from typing import Never

import pytest
import torch
from torch import Tensor, nn

from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.targets.litert import check
from paring.testing.models import tiny, unknown_operator


def _fail() -> Never:
    raise AssertionError("the converter was loaded")


@pytest.fixture
def no_converter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A cache of its own, with what `tiny` needs in it; the converter must not be loaded again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert check.problems(tiny()) == []
    monkeypatch.setattr(check, "_lowerings", _fail)
    return monkeypatch


def test_operators_that_were_known_once_need_no_converter(no_converter: pytest.MonkeyPatch) -> None:
    assert check.problems(tiny(seed=1)) == []
    with pytest.raises(AssertionError, match="was loaded"):
        check.problems(unknown_operator())


def test_another_converter_may_know_others(no_converter: pytest.MonkeyPatch) -> None:
    no_converter.setattr(check, "version", lambda name: "9.9")
    with pytest.raises(AssertionError, match="was loaded"):
        check.problems(tiny())


def test_what_is_unknown_is_named_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = (check.problems(unknown_operator()) for _ in range(2))
    assert first == second
    assert "no lowering" in str(first[0])


class Spectrum(nn.Module):
    """Complex numbers inside, two operators of them."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return torch.fft.fft(x).conj().real


class Chosen(nn.Module):
    """What is positive, and then its mean."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n) -> (batch, 1)."""
        return x + (x[x > 0] * 2).mean()


@pytest.mark.parametrize(
    ("module", "told"), [(Spectrum(), "no complex numbers, which aten.fft"), (Chosen(), "depends on values")]
)
def test_what_has_no_form_in_a_file_is_told_once(module: nn.Module, told: str) -> None:
    # of the second a sample's answer depends on others, so that no door lets it in
    model = replace(probe.model(nn.Identity(), Source("test"), (TensorSpec.of("x", (8,)),)), module=module)
    (found,) = check.problems(model)
    assert told in found.problem
