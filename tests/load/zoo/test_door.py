"""The front door `zoo:`: networks are built for the task at hand."""

import pytest
from torch import nn

from paring import load
from paring.core.errors import ParingError, UnknownName
from paring.data import open as open_data
from paring.load.zoo.resnet_cifar import resnet8
from paring.testing.doors import DoorContract


class TestZooDoor(DoorContract):
    @pytest.fixture
    def text(self) -> str:
        return "zoo:resnet8"

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (3, 32, 32)

    @pytest.fixture
    def original(self) -> nn.Module:
        return resnet8().eval()


def test_channels_size_and_classes_come_from_the_task() -> None:
    model = load.open("zoo:mobilenet_v2(width=0.25)", task=open_data("digits(size=16)"))
    assert dict(model.source.arguments) == {"width": 0.25, "channels": 1, "size": 16, "classes": 10}
    assert (model.inputs[0].shape, model.outputs[0].shape) == (("batch", 1, 16, 16), ("batch", 10))


def test_what_the_entry_says_goes_before_the_task() -> None:
    with pytest.raises(ParingError, match="10 labels") as caught:
        load.open("zoo:resnet8(classes=7)", task=open_data("digits(size=16)"))
    assert "7 values" in caught.value.problem


def test_without_a_task_the_papers_form_is_built() -> None:
    assert load.open("zoo:resnet20").inputs[0].shape == ("batch", 3, 32, 32)


def test_unknown_names_and_options_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="mobilnet_v2") as caught:
        load.open("zoo:mobilnet_v2")
    assert "mobilenet_v2" in caught.value.remedy
    with pytest.raises(UnknownName, match="widht") as caught:
        load.open("zoo:mobilenet_v2(widht=0.5)")
    assert "'width'" in caught.value.remedy


def test_an_option_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(ParingError, match="zoo:mobilenet_v2"):
        load.open("zoo:mobilenet_v2(width='half')")
