"""ResNets for 32x32 images.

He et al. 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2 and Table 6.
ResNet-8 is the image classification model of Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597, Table 1.
"""

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from paring.load.zoo.blocks import Size, check_arguments, conv_unit, initialize

_FILTERS = (16, 32, 64)  # of the three stages; each after the first halves the resolution


class PadShortcut(nn.Module):
    """Option A of the paper: every `stride`-th pixel, and zeros for the new channels. It has no parameters.

    float32, shape (batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.extra = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """The shortcut's output."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, added, then ReLU.

    float32, shape (batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride).
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, shortcut: Literal["pad", "conv"]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(
                first=conv_unit(inputs, outputs, 3, stride=stride),
                second=conv_unit(outputs, outputs, 3, activation=None),
            )
        )
        self.shortcut: nn.Module
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif shortcut == "pad":
            self.shortcut = PadShortcut(inputs, outputs, stride)
        else:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        return self.activation(self.shortcut(x) + self.body(x))  # type: ignore[no-any-return]


def resnet8(*, classes: int = 10, channels: int = 3, size: Size = 32) -> nn.Module:
    """ResNet-8 of MLPerf Tiny: one block in each stage, 1x1 convolutions as shortcuts.

    float32, shape (batch, channels, height, width) -> (batch, classes): logits. The benchmark's own model also has a
    bias in front of each batch norm, which batch norm makes void.

    Args:
        classes: number of outputs.
        channels: number of input channels.
        size: of an image in pixels, one number or (height, width); at least 4.

    Raises:
        ParingError: an argument is out of its range.
    """
    return _resnet("resnet8", classes, channels, size, blocks=1, shortcut="conv")


def resnet20(*, classes: int = 10, channels: int = 3, size: Size = 32) -> nn.Module:
    """ResNet-20: three blocks in each stage, shortcuts without parameters.

    float32, shape (batch, channels, height, width) -> (batch, classes): logits.

    Args:
        classes: number of outputs.
        channels: number of input channels.
        size: of an image in pixels, one number or (height, width); at least 4.

    Raises:
        ParingError: an argument is out of its range.
    """
    return _resnet("resnet20", classes, channels, size, blocks=3, shortcut="pad")


def resnet56(*, classes: int = 10, channels: int = 3, size: Size = 32) -> nn.Module:
    """ResNet-56: nine blocks in each stage, shortcuts without parameters.

    float32, shape (batch, channels, height, width) -> (batch, classes): logits.

    Args:
        classes: number of outputs.
        channels: number of input channels.
        size: of an image in pixels, one number or (height, width); at least 4.

    Raises:
        ParingError: an argument is out of its range.
    """
    return _resnet("resnet56", classes, channels, size, blocks=9, shortcut="pad")


def _resnet(
    name: str, classes: int, channels: int, size: Size, *, blocks: int, shortcut: Literal["pad", "conv"]
) -> nn.Module:
    check_arguments(f"zoo:{name}", classes=classes, channels=channels, size=size, smallest=4)
    inputs = _FILTERS[0]
    stages = nn.Sequential()
    for index, outputs in enumerate(_FILTERS):
        stage = nn.Sequential()
        for block in range(blocks):
            stride = 2 if index and not block else 1
            stage.append(BasicBlock(inputs, outputs, stride=stride, shortcut=shortcut))
            inputs = outputs
        stages.append(stage)
    return initialize(
        nn.Sequential(
            OrderedDict(
                stem=conv_unit(channels, _FILTERS[0], 3),
                stages=stages,
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=nn.Linear(inputs, classes),
            )
        )
    )
