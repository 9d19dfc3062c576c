"""MobileNet.

Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
arXiv:1704.04861, Table 1.
"""

from collections import OrderedDict
from typing import Literal

from torch import nn

from paring.load.zoo.blocks import (
    Size,
    check_arguments,
    choose_form,
    conv_unit,
    initialize,
    round_channels,
    separable_unit,
)

# (output channels, stride) of each separable convolution
_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
_DENSER = 3  # the block whose stride the small form drops


def mobilenet_v1(
    *,
    classes: int = 1000,
    channels: int = 3,
    size: Size = 224,
    width: float = 1.0,
    form: Literal["auto", "imagenet", "small"] = "auto",
) -> nn.Module:
    """MobileNet: a chain of depthwise separable convolutions.

    float32, shape (batch, channels, height, width) -> (batch, classes): logits.

    Args:
        classes: number of outputs.
        channels: number of input channels.
        size: of an image in pixels, one number or (height, width).
        width: multiplier of every layer's channels, which are rounded to multiples of 8.
        form: `imagenet` as in the paper (stride 32 in all); `small` keeps the resolution where 256 channels begin
            (stride 16 in all); `auto` is `small` for images of at most 64 pixels.

    Raises:
        ParingError: an argument is out of its range.
    """
    where = "zoo:mobilenet_v1"
    small = choose_form(form, size, where) == "small"
    check_arguments(where, classes=classes, channels=channels, size=size, smallest=16 if small else 32, width=width)

    inputs = round_channels(32 * width)
    stem = conv_unit(channels, inputs, 3, stride=2)
    blocks = nn.Sequential()
    for index, (wide, stride) in enumerate(_BLOCKS):
        outputs = round_channels(wide * width)
        blocks.append(separable_unit(inputs, outputs, stride=1 if small and index == _DENSER else stride))
        inputs = outputs
    return initialize(
        nn.Sequential(
            OrderedDict(
                stem=stem,
                blocks=blocks,
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=nn.Linear(inputs, classes),
            )
        )
    )
