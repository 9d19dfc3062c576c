"""MobileNetV2.

Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381, Table 2.
"""

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn

from paring.load.zoo.blocks import Size, check_arguments, choose_form, conv_unit, initialize, round_channels

# (expansion, output channels, repeats, stride of the first) of each stage
_STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
_DENSER = 1  # the stage whose stride the small form drops


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project to a linear bottleneck; added to its input where shapes allow.

    float32, shape (batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride).
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion != 1:
            layers["expand"] = conv_unit(inputs, hidden, 1, activation=nn.ReLU6)
        layers["depthwise"] = conv_unit(hidden, hidden, 3, stride=stride, groups=hidden, activation=nn.ReLU6)
        layers["project"] = conv_unit(hidden, outputs, 1, activation=None)
        self.body = nn.Sequential(layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        return x + self.body(x) if self.residual else self.body(x)  # type: ignore[no-any-return]


def mobilenet_v2(
    *,
    classes: int = 1000,
    channels: int = 3,
    size: Size = 224,
    width: float = 1.0,
    form: Literal["auto", "imagenet", "small"] = "auto",
) -> nn.Module:
    """MobileNetV2: inverted residuals with linear bottlenecks.

    float32, shape (batch, channels, height, width) -> (batch, classes): logits.

    Args:
        classes: number of outputs.
        channels: number of input channels.
        size: of an image in pixels, one number or (height, width).
        width: multiplier of the channels, which are rounded to multiples of 8.
        form: `imagenet` as in the paper (stride 32 in all; the last convolution keeps 1280 channels below width 1);
            `small` keeps the resolution where 24 channels begin (stride 16 in all), scales the last convolution too,
            and drops out less; `auto` is `small` for images of at most 64 pixels.

    Raises:
        ParingError: an argument is out of its range.
    """
    where = "zoo:mobilenet_v2"
    small = choose_form(form, size, where) == "small"
    check_arguments(where, classes=classes, channels=channels, size=size, smallest=16 if small else 32, width=width)

    inputs = round_channels(32 * width)
    stem = conv_unit(channels, inputs, 3, stride=2, activation=nn.ReLU6)
    stages = nn.Sequential()
    for index, (expansion, wide, repeats, first) in enumerate(_STAGES):
        outputs = round_channels(wide * width)
        stage = nn.Sequential()
        for repeat in range(repeats):
            stride = 1 if repeat or (small and index == _DENSER) else first
            stage.append(InvertedResidual(inputs, outputs, expansion=expansion, stride=stride))
            inputs = outputs
        stages.append(stage)
    last = round_channels(1280 * (width if small else max(1.0, width)))
    return initialize(
        nn.Sequential(
            OrderedDict(
                stem=stem,
                stages=stages,
                head=conv_unit(inputs, last, 1, activation=nn.ReLU6),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                dropout=nn.Dropout(0.1 if small else 0.2),
                classifier=nn.Linear(last, classes),
            )
        )
    )
