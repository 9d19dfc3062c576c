import pytest
import torch
from torch import nn

from paring.load.zoo.mobilenet_v2 import InvertedResidual, mobilenet_v2
from paring.measure import cost


@pytest.mark.parametrize(
    ("width", "millions_of_macs", "millions_of_parameters"),
    [  # the authors' table of released models (tensorflow/models, research/slim/nets/mobilenet/README.md), 224x224
        (1.4, 582, 6.06),
        (1.3, 509, 5.34),
        (1.0, 300, 3.47),
        (0.75, 209, 2.61),
        (0.5, 97, 1.95),
        (0.35, 59, 1.66),
    ],
)
def test_costs_as_published(built, width, millions_of_macs, millions_of_parameters):
    layers = cost.per_layer(built("mobilenet_v2", (3, 224, 224), width=width))
    assert int(sum(layer.macs for layer in layers) / 1e6) == millions_of_macs
    weights = sum(layer.parameters for layer in layers if layer.kind != "BatchNorm2d")  # the table leaves those out
    assert weights / 1e6 == pytest.approx(millions_of_parameters, abs=0.006)


@pytest.mark.parametrize(("width", "parameters"), [(1.0, 3_504_872), (0.5, 1_968_680)])
def test_parameters_exactly(costs, width, parameters):
    assert costs("mobilenet_v2", (3, 64, 64), width=width, form="imagenet")[0] == parameters


def test_small_form_as_specified(costs):
    assert costs("mobilenet_v2", (1, 28, 28), width=0.5, channels=1, classes=10, size=28) == (590_122, 5_886_688)
    network = mobilenet_v2(width=0.5, size=32)
    assert network.classifier.in_features == 640
    assert network.dropout.p == 0.1
    x, shapes = network.stem(torch.zeros(1, 3, 32, 32)), []
    for stage in network.stages:
        x = stage(x)
        shapes.append((x.shape[1], x.shape[2]))
    assert shapes == [(8, 16), (16, 16), (16, 8), (32, 4), (48, 4), (80, 2), (160, 2)]


def test_imagenet_form_keeps_the_last_convolution_below_width_1():
    assert mobilenet_v2(width=0.35).classifier.in_features == 1280
    assert mobilenet_v2(width=1.4).classifier.in_features == 1792


def test_residual_only_where_shapes_allow():
    x = torch.randn(1, 8, 4, 4)
    for block, added in [
        (InvertedResidual(8, 8, expansion=6, stride=1), True),
        (InvertedResidual(8, 8, expansion=6, stride=2), False),
        (InvertedResidual(8, 16, expansion=6, stride=1), False),
    ]:
        body = block.eval().body(x)
        torch.testing.assert_close(block(x), x + body if added else body, rtol=0, atol=0)


def test_bottlenecks_are_linear():
    block = InvertedResidual(8, 8, expansion=1, stride=1)
    kinds = [type(layer) for layer in block.body.modules() if not list(layer.children())]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU6, nn.Conv2d, nn.BatchNorm2d]
