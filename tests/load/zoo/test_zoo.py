"""What every network of the zoo keeps to."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional

from paring.core.errors import ParingError, UnknownName
from paring.load.zoo import ZOO

NETWORKS = ZOO.names()
FAMILIES = ("ds_cnn", "mobilenet_v1", "mobilenet_v2", "resnet8", "resnet20", "squeezenet1_1")
WITH_FORMS = ("mobilenet_v1", "mobilenet_v2", "squeezenet1_1")
WITH_WIDTH = ("mobilenet_v1", "mobilenet_v2")


@pytest.mark.parametrize("name", NETWORKS)
def test_takes_the_common_arguments_by_keyword(name):
    arguments = inspect.signature(ZOO.load(name)).parameters
    assert {"classes", "channels", "size"} <= arguments.keys()
    assert all(argument.kind is argument.KEYWORD_ONLY for argument in arguments.values())


@pytest.mark.parametrize("size", [28, 32, (49, 10), 96, 224])
@pytest.mark.parametrize("name", FAMILIES)
def test_gives_a_logit_for_each_class(name, size):
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 16 and name in WITH_FORMS:
        size, height, width = (49, 16), 49, 16
    network = ZOO.load(name)(classes=7, channels=2, size=size).eval()
    with torch.inference_mode():
        logits = network(torch.rand(1, 2, height, width))
    assert logits.shape == (1, 7)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_learning_reaches_every_parameter(name):
    torch.manual_seed(0)
    network = ZOO.load(name)(classes=4, channels=3, size=28).train()
    functional.cross_entropy(network(torch.randn(4, 3, 28, 28)), torch.arange(4)).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("name", FAMILIES)
def test_exports_with_a_free_batch(name):
    network = ZOO.load(name)(classes=4, channels=1, size=28).eval()
    images = torch.rand(3, 1, 28, 28)
    exported = torch.export.export(network, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(images), network(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_activation_works_in_place(name):
    assert not any(getattr(layer, "inplace", False) for layer in ZOO.load(name)().modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_starts_with_quiet_answers(name):
    """He's initialization by the true fan-out: batch norm finds activations of order one, logits start small."""
    torch.manual_seed(0)
    network = ZOO.load(name)(classes=10, channels=3, size=32).train()
    spreads = []
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(lambda _, inputs: spreads.append(float(inputs[0].std())))
    with torch.no_grad():
        logits = network(torch.randn(8, 3, 32, 32))
    assert logits.std() < 1
    assert all(0.2 < spread < 5 for spread in spreads)


@pytest.mark.parametrize(
    "wrong", [{"classes": 0}, {"channels": 0}, {"size": 1}, {"size": (1, 2)}, {"size": (32, 32, 32)}]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_refuses_wrong_arguments(name, wrong):
    with pytest.raises(ParingError) as caught:
        ZOO.load(name)(**wrong)
    assert caught.value.where == f"zoo:{name}"
    assert caught.value.remedy


@pytest.mark.parametrize("width", [0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", WITH_WIDTH)
def test_refuses_a_width_that_is_no_multiplier(name, width):
    with pytest.raises(ParingError, match="width"):
        ZOO.load(name)(width=width)


@pytest.mark.parametrize("name", WITH_FORMS)
def test_refuses_an_unknown_form(name):
    with pytest.raises(UnknownName, match="did you mean 'small'"):
        ZOO.load(name)(form="smal")


@pytest.mark.parametrize("form", ["imagenet", "small"])
@pytest.mark.parametrize("name", WITH_FORMS)
def test_the_smallest_size_is_enough_and_one_pixel_less_is_refused(name, form):
    build = ZOO.load(name)
    with pytest.raises(ParingError, match="at least") as caught:
        build(form=form, size=1, channels=1, classes=3)
    smallest = int("".join(filter(str.isdigit, caught.value.remedy)))
    with torch.inference_mode():
        network = build(form=form, size=smallest, channels=1, classes=3).eval()
        assert network(torch.rand(1, 1, smallest, smallest)).shape == (1, 3)
    with pytest.raises(ParingError):
        build(form=form, size=smallest - 1)


@pytest.mark.parametrize("name", WITH_FORMS)
def test_auto_is_small_up_to_64_pixels(name, costs):
    def macs(size, form):
        return costs(name, (3, 64, 64), size=size, form=form)[1]

    assert macs(64, "auto") == macs(64, "small") > macs(65, "auto") == macs(64, "imagenet")
    assert macs((65, 32), "auto") == macs(64, "imagenet")
