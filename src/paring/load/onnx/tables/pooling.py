"""Poolings."""

import torch
from torch.nn import functional

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value
from paring.load.onnx.tables.windows import Pads, listed, padded, pads, same_on_both_sides

_LOWEST = torch.finfo(torch.float32).min
_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _window(operator: Operator) -> tuple[int, list[int], list[int], list[int], Pads]:
    count = operator[0].rank - 2
    if not 1 <= count <= 3:
        raise Cannot(f"it has {count} spatial dimensions, torch has layers for 1 to 3")
    kernel = [int(one) for one in operator.attribute("kernel_shape")]
    stride, dilation = listed(operator, "strides", count), listed(operator, "dilations", count)
    return count, kernel, stride, dilation, pads(operator, operator[0].shape[2:], kernel, stride, dilation)


def _ceiled(operator: Operator, wanted: Pads, kernel: list[int], stride: list[int], dilation: list[int]) -> Pads:
    """The pads with which rounding down gives what `ceil_mode` gives: no last window begins in the pad behind."""
    result = []
    for s, (before, after), k, step, d in zip(operator[0].shape[2:], wanted, kernel, stride, dilation, strict=True):
        reach = (k - 1) * d + 1
        count = -(-(s + before + after - reach) // step) + 1
        if (count - 1) * step >= s + before:
            count -= 1
        result.append((before, max(after, (count - 1) * step + reach - s - before)))
    return result


def max_pool(operator: Operator) -> Value:
    """MaxPool1d, 2d, 3d."""
    if len(operator.outputs) > 1 and operator.outputs[1]:
        raise Cannot("its second output, the indices, is used")
    count, kernel, stride, dilation, wanted = _window(operator)
    x = operator[0]
    ceil = bool(operator.attribute("ceil_mode", 0)) and operator.attribute("auto_pad", "NOTSET") == "NOTSET"
    padding = same_on_both_sides(wanted)
    if padding is None or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        if ceil:
            wanted, ceil = _ceiled(operator, wanted, kernel, stride, dilation), False
        x, padding = padded(operator, x, wanted, _LOWEST), [0] * count
    return operator.emit(
        f"MaxPool{count}d", x, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil
    )


def average_pool(operator: Operator) -> Value:
    """AvgPool1d, 2d, 3d; where pads are uneven the sums are divided by what each window really covers."""
    count, kernel, stride, dilation, wanted = _window(operator)
    if any(one != 1 for one in dilation):
        raise Cannot("an average pooling with dilation has no counterpart")
    x, include = operator[0], bool(operator.attribute("count_include_pad", 0))
    ceil = bool(operator.attribute("ceil_mode", 0)) and operator.attribute("auto_pad", "NOTSET") == "NOTSET"
    padding = same_on_both_sides(wanted)
    if padding is not None and all(2 * p <= k for p, k in zip(padding, kernel, strict=True)):
        return operator.emit(
            f"AvgPool{count}d", x, kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil,
            count_include_pad=include,
        )  # fmt: skip
    outer = _ceiled(operator, wanted, kernel, stride, dilation) if ceil else wanted
    flat = [one for pair in reversed(outer) for one in pair]
    counted = torch.ones(1, 1, *x.shape[2:])
    if include:  # pads count, what rounding up adds behind them does not
        counted = functional.pad(counted, [one for pair in reversed(wanted) for one in pair], value=1.0)
        flat = [one - other for one, other in zip(flat, (o for p in reversed(wanted) for o in p), strict=True)]
    share = _POOL[count](functional.pad(counted, flat), kernel, stride)
    made = operator.emit(
        f"AvgPool{count}d", padded(operator, x, outer), kernel_size=kernel, stride=stride, padding=[0] * count
    )
    if bool((share == 1).all()):
        return made
    return operator.emit("multiply", made, operator.constant_value(1 / share))


def global_average(operator: Operator) -> Value:
    """AdaptiveAvgPool to one."""
    return _global(operator, "Avg")


def global_max(operator: Operator) -> Value:
    """AdaptiveMaxPool to one."""
    return _global(operator, "Max")


def _global(operator: Operator, kind: str) -> Value:
    count = operator[0].rank - 2
    if not 1 <= count <= 3:
        raise Cannot(f"it has {count} spatial dimensions, torch has layers for 1 to 3")
    return operator.emit(f"Adaptive{kind}Pool{count}d", operator[0], output_size=1)


OPERATORS: dict[str, Builder] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
}
