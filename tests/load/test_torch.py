"""The front door `torch:`."""

from pathlib import Path

import pytest
import torch
from torch import nn

from paring import load
from paring.core.errors import ParingError
from paring.testing.doors import DoorContract
from paring.testing.networks import tiny_network


class TestTorchDoor(DoorContract):
    @pytest.fixture
    def text(self) -> str:
        return "torch:paring.testing.networks:tiny_network"

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (1, 8, 8)

    @pytest.fixture
    def original(self) -> nn.Module:
        torch.manual_seed(7)
        return tiny_network().eval()


MODULE = """
import torch
from torch import nn

def linear(size=4, classes=3): return nn.Sequential(nn.Flatten(), nn.Linear(size, classes))
def nothing(): return 7
def failing(): raise RuntimeError("no weights here")

class Maker:
    @classmethod
    def make(cls, size=6): return linear(size)
class Summed(nn.Module):
    def forward(self, x): return x.sum(0)
class Two(nn.Module):
    def forward(self, x): return x, x.mean(1)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of the user's in the working directory; its name, new for each test."""
    name = f"own_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return f"torch:{name}"


def test_a_module_in_the_working_directory_is_found_with_its_arguments(own: str) -> None:
    model = load.open(f"{own}:linear(size=6, classes=5)", shape=(6,))
    assert model.outputs[0].shape == ("batch", 5)
    assert model.source.arguments == {"size": 6, "classes": 5}


def test_a_method_of_a_class_may_be_the_factory(own: str) -> None:
    assert load.open(f"{own}:Maker.make(size=4)", shape=(4,)).outputs[0].shape == ("batch", 3)


def test_several_outputs_have_names_of_their_own(own: str) -> None:
    model = load.open(f"{own}:Two", shape=(6,))
    assert [(spec.name, spec.shape) for spec in model.outputs] == [("output", ("batch", 6)), ("output_1", ("batch",))]


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        ("linaer", "no factory is called 'linaer'"),
        ("nothing", "gives int"),
        ("failing", "no weights here"),
        ("linear(sise=6)", "unexpected keyword"),
        ("Maker.mkae", "no factory is called 'mkae'"),
        ("Summed", "for a batch of 2"),
        ("linear", "forward pass fails"),
    ],
)
def test_what_is_wrong_with_a_factory_is_told(own: str, factory: str, problem: str) -> None:
    with pytest.raises(ParingError, match=problem):
        load.open(f"{own}:{factory}", shape=(6,))


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(ParingError, match="no module 'no_such_module'"):
        load.open("torch:no_such_module:make", shape=(6,))
    with pytest.raises(ParingError, match="names no factory"):
        load.open("torch:json", shape=(6,))


def test_a_module_that_fails_to_import_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module_of_mine.py").write_text("1/0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParingError, match="ZeroDivisionError"):
        load.open("torch:broken_module_of_mine:make", shape=(6,))


def test_the_shape_must_be_known() -> None:
    with pytest.raises(ParingError, match="shape of its input is not known"):
        load.open("torch:paring.testing.networks:tiny_network")


def test_the_seed_draws_the_weights_and_leaves_the_callers_chance_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    one, two, three = (
        load.open("torch:paring.testing.networks:tiny_network", shape=(1, 8, 8), seed=s) for s in (0, 0, 1)
    )
    assert torch.equal(torch.rand(1), wanted)
    weight = [model.module.state_dict()["stem.0.weight"] for model in (one, two, three)]
    assert torch.equal(weight[0], weight[1])
    assert not torch.equal(weight[0], weight[2])


def test_an_unknown_door_is_answered_with_the_nearest() -> None:
    with pytest.raises(ParingError, match=r"no front door is called 'torhc:'") as caught:
        load.open("torhc:a:b", shape=(1,))
    assert "torch:" in caught.value.remedy
