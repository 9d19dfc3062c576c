import torch
from torch import nn

from paring.load.zoo.squeezenet import Fire, squeezenet1_1


def test_costs_as_published(costs):
    """Version 1.1: 1,235,496 parameters, 0.349 G multiply-accumulates at 224x224.

    Both as torchvision has them (torchvision/models/squeezenet.py, SqueezeNet1_1_Weights: `num_params`, `_ops`).
    """
    parameters, macs = costs("squeezenet1_1", (3, 224, 224))
    assert parameters == 1_235_496
    assert round(macs / 1e9, 3) == 0.349
    assert macs == 349_151_936


def test_feature_maps():
    def last_map(size, form):
        network = squeezenet1_1(size=size, form=form)
        return nn.Sequential(network.stem, network.blocks)(torch.zeros(1, 3, size, size)).shape

    assert last_map(224, "imagenet") == (1, 512, 13, 13)  # Table 1 of the paper: 13x13
    assert last_map(64, "imagenet") == (1, 512, 3, 3)
    assert last_map(64, "small") == (1, 512, 8, 8)
    assert last_map(28, "small") == (1, 512, 3, 3)


def test_fire_expands_side_by_side():
    fire = Fire(4, 2, 8)
    x = torch.randn(2, 4, 5, 5)
    y, squeezed = fire(x), fire.squeeze(x)
    assert y.shape == (2, 16, 5, 5)
    torch.testing.assert_close(y[:, :8], fire.expand1x1(squeezed), rtol=0, atol=0)
    torch.testing.assert_close(y[:, 8:], fire.expand3x3(squeezed), rtol=0, atol=0)
