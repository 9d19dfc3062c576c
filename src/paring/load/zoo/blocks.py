"""What several networks of the zoo are made of: arguments, widths, the convolution unit, initialization."""

from collections import OrderedDict
from collections.abc import Sequence
from math import floor, inf, sqrt
from typing import Literal

from torch import nn

from paring.core.errors import ParingError, UnknownName

Form = Literal["imagenet", "small"]
Size = int | Sequence[int]

SMALL = 64  # pixels: up to here the paper's strides would leave too little of an image


def image_size(size: Size, where: str) -> tuple[int, int]:
    """(height, width) in pixels of a size given as one number or two."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2:
        raise ParingError(f"size {size!r} is neither one number nor two", where, "size=224, or size=[49, 10]")
    return pair[0], pair[1]


def choose_form(form: str, size: Size, where: str) -> Form:
    """The form meant: `auto` is `small` for images whose longer side has at most 64 pixels."""
    automatic: Form = "small" if max(image_size(size, where)) <= SMALL else "imagenet"
    forms: dict[str, Form] = {"auto": automatic, "imagenet": "imagenet", "small": "small"}
    if form not in forms:
        raise UnknownName.of("form", form, forms, where)
    return forms[form]


def check_arguments(where: str, *, classes: int, channels: int, size: Size, smallest: int, width: float = 1.0) -> None:
    """Refuses what no network can be built from.

    Args:
        where: the network, for the message.
        classes: number of outputs.
        channels: number of input channels.
        size: of an image, pixels.
        smallest: height and width in pixels below which nothing would be left of the last feature map.
        width: multiplier of the channels.

    Raises:
        ParingError: an argument is out of its range.
    """
    if classes < 1:
        raise ParingError(f"classes is {classes}", where, "the number of labels, at least 1")
    if channels < 1:
        raise ParingError(f"channels is {channels}", where, "3 for colour images, 1 for grey ones or spectrograms")
    if not 0 < width < inf:
        raise ParingError(f"width is {width}", where, "a positive number; 1.0 is the network of the paper")
    if min(image_size(size, where)) < smallest:
        raise ParingError(
            f"the strides leave nothing of an image of size {size}", where, f"at least {smallest} pixels each way"
        )


def round_channels(channels: float, step: int = 8) -> int:
    """The multiple of `step` nearest to `channels`, but never below 90 % of it, nor below `step`."""
    rounded = max(step, step * floor(channels / step + 0.5))
    return rounded if rounded >= 0.9 * channels else rounded + step


def conv_unit(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch norm and (unless None) an activation; padded so that stride 1 keeps the size."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        norm=nn.BatchNorm2d(outputs),
    )
    if activation is not None:
        layers["activation"] = activation()
    return nn.Sequential(layers)


def separable_unit(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """A depthwise separable convolution: 3x3 in each channel, then 1x1 across them."""
    return nn.Sequential(
        OrderedDict(
            depthwise=conv_unit(inputs, inputs, 3, stride=stride, groups=inputs),
            pointwise=conv_unit(inputs, outputs, 1),
        )
    )


def initialize(network: nn.Sequential) -> nn.Sequential:
    """Draws the weights: He's normal distribution by fan-out, linear layers N(0, 0.01), biases zero.

    Batch norms keep torch's own start, scale 1 and shift 0.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            # torch's own fan-out overlooks groups, which would leave depthwise weights too small
            fan_out = layer.out_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
            nn.init.normal_(layer.weight, std=sqrt(2 / fan_out))
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return network
