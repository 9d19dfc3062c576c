"""Activations that are sums and products at heart, and arithmetic with numbers."""

from typing import Any

from torch.fx import Node

from paring.steps.quantize.rewrites.place import Place, Rule, aten, fixed, shape


def _silu(here: Place, x: Node) -> Node:
    return here.call(aten.mul.Tensor, x, here.call(aten.sigmoid.default, x))


def _glu(here: Place, x: Node, dim: int = -1) -> Node | None:
    size = shape(x)[dim]
    if not fixed([size]):
        return None
    first, second = (here.call(aten.slice.Tensor, x, dim, at, at + size // 2) for at in (0, size // 2))
    return here.call(aten.mul.Tensor, first, here.call(aten.sigmoid.default, second))


def _hard_sigmoid(here: Place, x: Node) -> Node:
    limited = here.call(aten.hardtanh.default, here.call(aten.add.Tensor, x, 3.0), 0.0, 6.0)
    return here.call(aten.mul.Tensor, limited, 1 / 6)


def _prelu(here: Place, x: Node, slope: Node) -> Node:
    """relu(x) + slope · min(x, 0), the slopes along the axis of the channels."""
    around = [1] * (len(shape(x)) - 2)
    slopes = here.call(aten.reshape.default, slope, [-1, *around]) if len(shape(x)) > 1 else slope
    below = here.call(aten.clamp_max.default, x, 0.0)
    return here.call(aten.add.Tensor, here.call(aten.relu.default, x), here.call(aten.mul.Tensor, below, slopes))


def _clamped(here: Place, x: Node, low: Any = None, high: Any = None, **options: Any) -> Node | None:
    """What a kernel may apply to the sum that it follows."""
    low, high = options.get("min", low), options.get("max", high)
    if high is None and low == 0:
        return here.call(aten.relu.default, x)
    if low == 0 and high == 6:
        return here.call(aten.hardtanh.default, x, 0.0, 6.0)
    return None


def _power(here: Place, x: Node, exponent: float = 2) -> Node | None:
    return here.call(aten.mul.Tensor, x, x) if exponent == 2 else None


def _difference_from(here: Place, x: Node, other: Any, alpha: float = 1) -> Node | None:
    """Of a number and x."""
    if alpha != 1 or not _is_float(x):
        return None
    return here.call(aten.add.Tensor, here.call(aten.mul.Tensor, x, -1.0), float(other))


def _quotient(here: Place, x: Node, other: Any) -> Node | None:
    return here.call(aten.mul.Tensor, x, 1 / other) if not isinstance(other, Node) and other and _is_float(x) else None


def _negative(here: Place, x: Node) -> Node | None:
    return here.call(aten.mul.Tensor, x, -1.0) if _is_float(x) else None


def _is_float(x: Any) -> bool:
    return isinstance(x, Node) and bool(x.meta["val"].is_floating_point())


def _as(target: Any) -> Rule:
    """Another overload of the same operator."""
    return lambda here, *args, **options: here.call(target, *args, **options)


RULES: dict[object, Rule] = {
    aten.silu.default: _silu,
    aten.glu.default: _glu,
    aten.hardsigmoid.default: _hard_sigmoid,
    aten.prelu.default: _prelu,
    aten.clamp.default: _clamped,
    aten.clamp_min.default: _clamped,
    aten.pow.Tensor_Scalar: _power,
    aten.square.default: _power,
    aten.rsub.Scalar: _difference_from,
    aten.div.Tensor: _quotient,
    aten.div.Scalar: _quotient,
    aten.neg.default: _negative,
    aten.mul.Scalar: _as(aten.mul.Tensor),
    aten.add.Scalar: _as(aten.add.Tensor),
    aten.sub.Scalar: _as(aten.sub.Tensor),
    aten.max.other: _as(aten.maximum.default),
    aten.min.other: _as(aten.minimum.default),
}
