"""Convolutions. "same" is TensorFlow's: as much padding as the last window needs, the odd pixel at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from paring.load.keras.builders.activation import activate
from paring.load.keras.sheet import Sheet, Value, weight


def conv(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Conv1D, Conv2D, Conv3D, in groups too."""
    x_reference, sizes, channels = spatial(sheet, layer, x)
    kernel = _kernel(layer.kernel)
    found = _convolve(
        sheet, layer, x_reference, sizes, kernel, getattr(layer, "bias", None), groups=channels // kernel.shape[1]
    )
    return activate(sheet, layer.activation, sheet.value(found, _last(layer)))


def depthwise(sheet: Sheet, layer: Any, x: Value) -> Value:
    """DepthwiseConv1D and 2D."""
    x_reference, sizes, channels = spatial(sheet, layer, x)
    kernel = _depthwise_kernel(layer.kernel)
    found = _convolve(sheet, layer, x_reference, sizes, kernel, getattr(layer, "bias", None), groups=channels)
    return activate(sheet, layer.activation, sheet.value(found, _last(layer)))


def separable(sheet: Sheet, layer: Any, x: Value) -> Value:
    """SeparableConv1D and 2D: a depthwise convolution, then a pointwise one."""
    x_reference, sizes, channels = spatial(sheet, layer, x)
    kernel = _depthwise_kernel(layer.depthwise_kernel)
    found = _convolve(sheet, layer, x_reference, sizes, kernel, None, groups=channels, part="depthwise")
    point = _kernel(layer.pointwise_kernel)
    found = _layer(sheet, layer.rank, found, point, layer.bias, part="pointwise")
    return activate(sheet, layer.activation, sheet.value(found, _last(layer)))


def transposed(sheet: Sheet, layer: Any, x: Value) -> Value:
    """Conv1DTranspose to Conv3DTranspose."""
    x_reference, _, _ = spatial(sheet, layer, x)
    rank = layer.rank
    given = weight(layer.kernel)
    kernel = given.permute(rank + 1, rank, *range(rank))
    output_padding = layer.output_padding
    if output_padding is None or isinstance(output_padding, int):
        output_padding = (output_padding,) * rank
    crops = [
        _crop(size, stride, dilation, layer.padding, more)
        for size, stride, dilation, more in zip(
            layer.kernel_size, layer.strides, layer.dilation_rate, output_padding, strict=True
        )
    ]
    # what torch can do itself: the same crop on both sides, and a smaller one at the end
    ends = [
        (before, before - after)
        if 0 <= before - after < max(stride, dilation) and before >= 0
        else (max(0, min(before, after)), 0)
        for (before, after), stride, dilation in zip(crops, layer.strides, layer.dilation_rate, strict=True)
    ]
    bias = getattr(layer, "bias", None)
    rest = [(before - pad, after - pad + more) for (before, after), (pad, more) in zip(crops, ends, strict=True)]
    extends = any(amount < 0 for pair in rest for amount in pair)
    options: dict[str, Any] = {"padding": [pad for pad, _ in ends], "output_padding": [more for _, more in ends]}
    found = sheet.add(
        f"ConvTranspose{rank}d",
        x_reference,
        tensors={"weight": kernel} | ({} if bias is None or extends else {"bias": bias}),
        in_channels=kernel.shape[0],
        out_channels=kernel.shape[1],
        kernel_size=list(layer.kernel_size),
        stride=list(layer.strides),
        dilation=list(layer.dilation_rate),
        bias=bias is not None and not extends,
        **options,
    )
    if any(amount > 0 for pair in rest for amount in pair):
        found = sheet.add("crop", found, part="crop", amounts=[[max(0, b), max(0, a)] for b, a in rest])
    if extends:
        found = sheet.add("pad", found, part="pad", pad=_flat([(max(0, -b), max(0, -a)) for b, a in rest]))
        if bias is not None:  # comes on top of what was padded
            shape = (kernel.shape[1], *(1,) * rank)
            found = sheet.add("add", found, sheet.parameter(weight(bias).reshape(shape), "bias"), part="biased")
    return activate(sheet, layer.activation, sheet.value(found, _last(layer)))


def spatial(sheet: Sheet, layer: Any, x: Value) -> tuple[str, tuple[int, ...], int]:
    """The reference with channels first, the spatial sizes, the number of channels."""
    if _last(layer):
        return sheet.first(x), x.shape[:-1], x.shape[-1]
    return sheet.plain(x), x.shape[1:], x.shape[0]


def same(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TensorFlow's padding before and after, so that ceil(size / stride) windows fit."""
    wide = (kernel - 1) * dilation + 1
    total = max(0, (-(-size // stride) - 1) * stride + wide - size)
    return total // 2, total - total // 2


def padded(
    sheet: Sheet, reference: str, amounts: Sequence[tuple[int, int]], fill: float = 0.0
) -> tuple[str, list[int]]:
    """Leaves equal padding to the layer; draws what is not equal. Gives the reference and the layer's padding."""
    if all(before == after for before, after in amounts):
        return reference, [before for before, _ in amounts]
    options: dict[str, Any] = {} if fill == 0.0 else {"value": fill}
    return sheet.add("pad", reference, part="pad", pad=_flat(amounts), **options), [0] * len(amounts)


def _convolve(
    sheet: Sheet,
    layer: Any,
    reference: str,
    sizes: Sequence[int],
    kernel: Tensor,
    bias: Any,
    groups: int,
    part: str = "",
) -> str:
    amounts = []
    for size, wide, stride, dilation in zip(sizes, kernel.shape[2:], layer.strides, layer.dilation_rate, strict=True):
        if layer.padding == "same":
            amounts.append(same(size, wide, stride, dilation))
        elif layer.padding == "causal":
            amounts.append(((wide - 1) * dilation, 0))
        else:
            amounts.append((0, 0))
    reference, padding = padded(sheet, reference, amounts)
    return _layer(
        sheet,
        layer.rank,
        reference,
        kernel,
        bias,
        part,
        stride=list(layer.strides),
        padding=padding,
        dilation=list(layer.dilation_rate),
        groups=groups,
    )


def _layer(
    sheet: Sheet, rank: int, reference: str, kernel: Tensor, bias: Any, part: str = "", groups: int = 1, **options: Any
) -> str:
    return sheet.add(
        f"Conv{rank}d",
        reference,
        part=part,
        tensors={"weight": kernel} | ({} if bias is None else {"bias": bias}),
        in_channels=kernel.shape[1] * groups,
        out_channels=kernel.shape[0],
        kernel_size=list(kernel.shape[2:]),
        bias=bias is not None,
        groups=groups,
        **options,
    )


def _kernel(kernel: Any) -> Tensor:
    """(*spatial, in, out) -> (out, in, *spatial)."""
    found = weight(kernel)
    return found.permute(found.ndim - 1, found.ndim - 2, *range(found.ndim - 2))


def _depthwise_kernel(kernel: Any) -> Tensor:
    """(*spatial, in, multiplier) -> (in * multiplier, 1, *spatial)."""
    found = weight(kernel)
    return found.reshape(*found.shape[:-2], -1).movedim(-1, 0).unsqueeze(1)


def _crop(size: int, stride: int, dilation: int, padding: str, more: int | None) -> tuple[int, int]:
    """What Keras cuts off the full transposed convolution on each side; what it adds is below zero."""
    wide = (size - 1) * dilation + 1
    if padding == "valid":
        return 0, -(max(wide, stride) - wide if more is None else more)
    total = stride + wide - 2 if more is None else wide + wide % 2 - 2 + more
    before = min(total // 2 + total % 2, wide - 1)
    return wide - 1 - before, wide - 1 - (total - before)


def _flat(amounts: Sequence[tuple[int, int]]) -> list[int]:
    """As `functional.pad` takes them: the last dimension first."""
    return [amount for pair in reversed(amounts) for amount in pair]


def _last(layer: Any) -> bool:
    return bool(layer.data_format == "channels_last")


BUILDERS = {
    "Conv1D": conv,
    "Conv2D": conv,
    "Conv3D": conv,
    "DepthwiseConv1D": depthwise,
    "DepthwiseConv2D": depthwise,
    "SeparableConv1D": separable,
    "SeparableConv2D": separable,
    "Conv1DTranspose": transposed,
    "Conv2DTranspose": transposed,
    "Conv3DTranspose": transposed,
}
