"""Paddings of operators that slide a window: ONNX's rules, in numbers."""

from collections.abc import Sequence

from paring.load.onnx.build import Operator
from paring.load.onnx.draft import Cannot, Value

Pads = list[tuple[int, int]]


def listed(operator: Operator, name: str, count: int, default: int = 1) -> list[int]:
    """An attribute that has a number for each spatial dimension."""
    return [int(one) for one in operator.attribute(name) or [default] * count]


def pads(
    operator: Operator, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Pads:
    """What is added before and after each spatial dimension of an input of this size."""
    mode = operator.attribute("auto_pad", "NOTSET")
    if mode == "NOTSET":
        found = listed(operator, "pads", 2 * len(size), 0)
        return list(zip(found[: len(size)], found[len(size) :], strict=True))
    if mode == "VALID":
        return [(0, 0)] * len(size)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise Cannot(f"auto_pad={mode} is not known")
    result = []
    for s, k, step, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-s // step) - 1) * step + (k - 1) * d + 1 - s, 0)
        less, more = total // 2, total - total // 2
        result.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return result


def padded(operator: Operator, x: Value, wanted: Pads, value: float = 0.0) -> Value:
    """The input with explicit pads; torch counts from the last dimension."""
    if not any(one for pair in wanted for one in pair):
        return x
    return operator.emit("pad", x, pad=[one for pair in reversed(wanted) for one in pair], value=value)


def same_on_both_sides(wanted: Pads) -> list[int] | None:
    """The pads as a layer takes them, if it can."""
    return [before for before, _ in wanted] if all(before == after for before, after in wanted) else None
