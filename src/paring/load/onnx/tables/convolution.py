"""Convolutions."""

from torch import Tensor

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value
from paring.load.onnx.tables.windows import listed, padded, pads, same_on_both_sides


def _weights(operator: Operator) -> dict[str, Tensor]:
    found = {"weight": operator.needed(1, "weight")}
    bias = operator.constant(2, "bias")
    return found if bias is None else {**found, "bias": bias}


def _spatial(operator: Operator) -> int:
    count = operator[0].rank - 2
    if not 1 <= count <= 3:
        raise Cannot(f"it has {count} spatial dimensions, torch has layers for 1 to 3")
    return count


def conv(operator: Operator) -> Value:
    """Conv1d, Conv2d, Conv3d."""
    x, tensors, count = operator[0], _weights(operator), _spatial(operator)
    weight, groups = tensors["weight"], int(operator.attribute("group", 1))
    kernel, stride, dilation = (
        list(weight.shape[2:]), listed(operator, "strides", count), listed(operator, "dilations", count)
    )  # fmt: skip
    wanted = pads(operator, x.shape[2:], kernel, stride, dilation)
    padding = same_on_both_sides(wanted)
    if padding is None:
        x, padding = padded(operator, x, wanted), [0] * count
    return operator.layer(
        f"Conv{count}d", x, tensors=tensors,
        in_channels=weight.shape[1] * groups, out_channels=weight.shape[0], kernel_size=kernel, stride=stride,
        padding=padding, dilation=dilation, groups=groups, bias="bias" in tensors,
    )  # fmt: skip


def conv_transpose(operator: Operator) -> Value:
    """ConvTranspose1d, 2d, 3d; what uneven pads cut off is cropped behind the layer."""
    x, tensors, count = operator[0], _weights(operator), _spatial(operator)
    weight, groups = tensors["weight"], int(operator.attribute("group", 1))
    stride, dilation = listed(operator, "strides", count), listed(operator, "dilations", count)
    extra = listed(operator, "output_padding", count, 0)
    kernel = list(weight.shape[2:])
    full = [(s - 1) * st + (k - 1) * d + 1 for s, st, k, d in zip(x.shape[2:], stride, kernel, dilation, strict=True)]
    mode, sizes = operator.attribute("auto_pad", "NOTSET"), operator.attribute("output_shape")
    if sizes is None and mode.startswith("SAME"):
        sizes = [s * st for s, st in zip(x.shape[2:], stride, strict=True)]
    if sizes is not None:
        wanted = []
        for size, out, e in zip(full, list(sizes)[-count:], extra, strict=True):
            total = max(size + e - out, 0)
            less, more = total // 2, total - total // 2
            wanted.append((less, more) if mode == "SAME_UPPER" else (more, less))
    elif mode == "VALID":
        wanted = [(0, 0)] * count
    else:
        found = listed(operator, "pads", 2 * count, 0)
        wanted = list(zip(found[:count], found[count:], strict=True))
    padding = same_on_both_sides(wanted)
    crops: list[tuple[int, int]] = [(0, 0)] * count
    if padding is None:
        padding = [0] * count
        extra, crops = (
            [max(e - after, 0) for e, (_, after) in zip(extra, wanted, strict=True)],
            [(before, max(after - e, 0)) for e, (before, after) in zip(extra, wanted, strict=True)],
        )
    made = operator.layer(
        f"ConvTranspose{count}d", x, tensors=tensors,
        in_channels=weight.shape[0], out_channels=weight.shape[1] * groups, kernel_size=kernel, stride=stride,
        padding=padding, output_padding=extra, groups=groups, bias="bias" in tensors, dilation=dilation,
    )  # fmt: skip
    bounds = [
        [dim, before, size - after, 1]
        for dim, (size, (before, after)) in enumerate(zip(made.shape[2:], crops, strict=True), 2)
        if before or after
    ]
    return operator.emit("crop_to", made, bounds=bounds) if bounds else made


OPERATORS: dict[str, Builder] = {"Conv": conv, "ConvTranspose": conv_transpose}
