"""SqueezeNet 1.1.

Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
arXiv:1602.07360, Table 1; version 1.1 is the authors' later release (smaller stem, earlier pools).
"""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from paring.load.zoo.blocks import Size, check_arguments, choose_form, initialize


class Fire(nn.Module):
    """Squeeze to few channels, then expand by 1x1 and 3x3 convolutions side by side.

    float32, shape (batch, inputs, height, width) -> (batch, 2 * expand, height, width).
    """

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(inputs, squeeze, 1), nn.ReLU())
        self.expand1x1 = nn.Sequential(nn.Conv2d(squeeze, expand, 1), nn.ReLU())
        self.expand3x3 = nn.Sequential(nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        x = self.squeeze(x)
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1)


def squeezenet1_1(
    *,
    classes: int = 1000,
    channels: int = 3,
    size: Size = 224,
    form: Literal["auto", "imagenet", "small"] = "auto",
) -> nn.Module:
    """SqueezeNet 1.1: fire modules and no linear layer.

    float32, shape (batch, channels, height, width) -> (batch, classes): logits, which the last ReLU keeps >= 0.

    Args:
        classes: number of outputs.
        channels: number of input channels.
        size: of an image in pixels, one number or (height, width).
        form: `imagenet` as released (stride 16 in all); `small` has a stem of stride 1, padded (stride 8 in all);
            `auto` is `small` for images of at most 64 pixels.

    Raises:
        ParingError: an argument is out of its range.
    """
    where = "zoo:squeezenet1_1"
    small = choose_form(form, size, where) == "small"
    # without padding the stem loses a border, so that 16 pixels would not do for a stride of 16
    check_arguments(where, classes=classes, channels=channels, size=size, smallest=8 if small else 17)

    stem = nn.Conv2d(channels, 64, 3, stride=1, padding=1) if small else nn.Conv2d(channels, 64, 3, stride=2)
    classifier = nn.Conv2d(512, classes, 1)
    network = initialize(
        nn.Sequential(
            OrderedDict(
                stem=nn.Sequential(stem, nn.ReLU(), _pool()),
                blocks=nn.Sequential(
                    Fire(64, 16, 64),
                    Fire(128, 16, 64),
                    _pool(),
                    Fire(128, 32, 128),
                    Fire(256, 32, 128),
                    _pool(),
                    Fire(256, 48, 192),
                    Fire(384, 48, 192),
                    Fire(384, 64, 256),
                    Fire(512, 64, 256),
                ),
                dropout=nn.Dropout(0.5),
                classifier=classifier,
                activation=nn.ReLU(),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
            )
        )
    )
    nn.init.normal_(classifier.weight, std=0.01)  # it stands where other networks have a linear layer
    return network


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
