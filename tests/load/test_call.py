"""Modules that are called in other ways: by name, by a dictionary, and those that give dictionaries."""

from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paring import load
from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.load import saved
from paring.steps.quantize.graph import capture
from paring.targets.litert import LiteRT

SPECS = (TensorSpec("image", ("batch", 4)), TensorSpec("mask", ("batch", 4)))
Pair = namedtuple("Pair", ("logits", "hidden"))


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def compute(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden: Tensor = image * 2 - mask
        return self.linear(hidden), hidden


class InOrder(Base):
    def forward(self, first: Tensor, second: Tensor) -> Any:
        return self.compute(first, second)


class ByName(Base):
    def forward(self, mask: Tensor, other: Tensor | None = None, image: Tensor | None = None) -> Any:
        assert other is None
        assert image is not None
        logits, hidden = self.compute(image, mask)
        return {"logits": logits, "hidden": hidden}


class ByDictionary(Base):
    def forward(self, batch: dict[str, Tensor]) -> Any:
        return list(self.compute(batch["image"], batch["mask"]))


class Named(Base):
    def forward(self, image: Tensor, mask: Tensor) -> Any:
        return Pair(*self.compute(image, mask))


class Free(Base):
    def forward(self, *tensors: Tensor) -> Any:
        return self.compute(*tensors)


KINDS = {
    "InOrder": ("output", "output_1"),
    "ByName": ("logits", "hidden"),
    "ByDictionary": ("output", "output_1"),
    "Named": ("logits", "hidden"),
    "Free": ("output", "output_1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_be_called_comes_to_one_form(kind: str, tmp_path: Path) -> None:
    model = load.open(f"torch:{__name__}:{kind}", shape=SPECS)
    assert tuple(spec.name for spec in model.outputs) == KINDS[kind]
    assert sorted(model.module.state_dict()) == ["linear.bias", "linear.weight"]
    image, mask = torch.randn(5, 4), torch.randn(5, 4)
    wanted = model.module.compute(image, mask)  # type: ignore[operator]
    given = {"mask": mask, "image": image}
    for found, one in zip(model(given).values(), wanted, strict=True):
        assert torch.equal(found, one)
    again = saved.load(saved.save(model, tmp_path / "m.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(again(given).values(), model(given).values(), strict=True))
    assert torch.equal(capture(model)(image, mask)[0], wanted[0])  # what quantization starts from


def test_a_dictionary_goes_the_whole_way_to_a_file(tmp_path: Path) -> None:
    model = load.open(f"torch:{__name__}:ByName", shape=SPECS)
    runner = LiteRT().open(LiteRT().export(model, tmp_path / "m.tflite"))
    given = {"image": torch.randn(2, 4), "mask": torch.randn(2, 4)}
    found = runner.run({name: tensor.numpy() for name, tensor in given.items()})
    for name, tensor in model(given).items():
        torch.testing.assert_close(torch.from_numpy(found[name]), tensor, atol=1e-5, rtol=0)


class GivesNone(Base):
    def forward(self, image: Tensor, mask: Tensor) -> Any:
        return {"logits": image + mask, "loss": None}


class GivesNested(Base):
    def forward(self, image: Tensor, mask: Tensor) -> Any:
        return image, (mask, mask)


class GivesNothing(Base):
    def forward(self, image: Tensor, mask: Tensor) -> Mapping[str, Tensor]:
        return {}


class TakesThree(Base):
    def forward(self, image: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        return image + mask + weights


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("GivesNone", "loss is None"),
        ("GivesNested", "output_1 is a tuple within it"),
        ("GivesNothing", "nothing"),
        ("TakesThree", r"takes \(image, mask, weights\), given are image, mask"),
    ],
)
def test_what_has_no_such_form_is_told(kind: str, problem: str) -> None:
    with pytest.raises(ParingError, match=problem):
        load.open(f"torch:{__name__}:{kind}", shape=SPECS)


def test_a_door_that_takes_one_input_refuses_several() -> None:
    with pytest.raises(ParingError, match="several inputs"):
        load.open("zoo:resnet8", shape=SPECS)
