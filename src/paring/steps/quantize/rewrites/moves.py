"""What only moves values, or does nothing to them."""

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from paring.steps.quantize.rewrites.place import Place, Rule, aten, fixed, many, shape, viewed

_COPIES = 8


def _same(_: Place, x: Node, *__: Any, **___: Any) -> Node:
    return x


def _dropout(_: Place, x: Node, __: float, train: bool) -> Node | None:
    return None if train else x


def _stacked(here: Place, parts: list[Node], dim: int = 0) -> Node:
    axis = dim % (len(shape(parts[0])) + 1)
    return here.call(aten.cat.default, [here.call(aten.unsqueeze.default, part, axis) for part in parts], axis)


def _without_empty(here: Place, parts: list[Node], dim: int = 0) -> Node | None:
    """What holds no values, as a decoder's cache before its first token, is no part of a concatenation."""
    held = [part for part in parts if not any(isinstance(size, int) and size == 0 for size in shape(part))]
    same = all(part.meta["val"].dtype is here.node.meta["val"].dtype for part in held)
    if not held or len(held) == len(parts) or not same:
        return None
    return held[0] if len(held) == 1 else here.call(aten.cat.default, held, dim)


def _narrow(here: Place, x: Node, dim: int, start: int, length: int) -> Node | None:
    size = shape(x)[dim]
    if not fixed([start, length, size]):
        return None
    start %= size
    return here.call(aten.slice.Tensor, x, dim, start, start + length)


def _moved_axes(here: Place, x: Node, source: Any, destination: Any) -> Node:
    rank = len(shape(x))
    to, of = ([axis % rank for axis in many(axes)] for axes in (destination, source))
    pairs = dict(zip(to, of, strict=True))
    rest = iter(axis for axis in range(rank) if axis not in of)
    return here.call(aten.permute.default, x, [pairs[place] if place in pairs else next(rest) for place in range(rank)])


def _turned(here: Place, x: Node) -> Node | None:
    return here.call(aten.permute.default, x, [1, 0]) if len(shape(x)) == 2 else None


def _unflattened(here: Place, x: Node, *_: Any) -> Node | None:
    return viewed(here, x, shape(here.node))


def _rolled(here: Place, x: Node, shifts: Any, dims: Any = ()) -> Node | None:
    shifts, dims = many(shifts), many(dims)
    if len(shifts) != len(dims) or not fixed([shape(x)[dim] for dim in dims]):
        return None
    for shift, dim in zip(shifts, dims, strict=True):
        size = shape(x)[dim]
        cut = size - shift % size
        if cut not in (0, size):
            last = here.call(aten.slice.Tensor, x, dim, cut, size)
            x = here.call(aten.cat.default, [last, here.call(aten.slice.Tensor, x, dim, 0, cut)], dim)
    return x


def _pixels_shuffled(here: Place, x: Node, factor: int) -> Node | None:
    if len(shape(x)) != 4 or not fixed(shape(x)[1:]):
        return None
    batch, channels, height, width = shape(x)
    parts = viewed(here, x, [batch, channels // factor**2, factor, factor, height, width])
    turned = here.call(aten.permute.default, parts, [0, 1, 4, 2, 5, 3])
    return viewed(here, turned, [batch, channels // factor**2, height * factor, width * factor])


def _pixels_unshuffled(here: Place, x: Node, factor: int) -> Node | None:
    if len(shape(x)) != 4 or not fixed(shape(x)[1:]):
        return None
    batch, channels, height, width = shape(x)
    parts = viewed(here, x, [batch, channels, height // factor, factor, width // factor, factor])
    turned = here.call(aten.permute.default, parts, [0, 1, 3, 5, 2, 4])
    return viewed(here, turned, [batch, channels * factor**2, height // factor, width // factor])


def _channels_shuffled(here: Place, x: Node, groups: int) -> Node | None:
    batch, channels, *rest = shape(x)
    if not fixed([channels, *rest]):
        return None
    parts = viewed(here, x, [batch, groups, channels // groups, *rest])
    return viewed(here, here.call(aten.transpose.int, parts, 1, 2), [batch, channels, *rest])


def _expanded(here: Place, x: Node, *_: Any, **__: Any) -> Node | None:
    """Of an image of one value as growing it, which has kernels everywhere."""
    before, after = shape(x), shape(here.node)
    if len(before) != 4 or len(after) != 4 or before[2:] != (1, 1) or not fixed(after[2:]):
        return None
    if before[1] != after[1] or x.op == "get_attr" or str(before[0]) != str(after[0]):
        return None
    return here.call(aten.upsample_nearest2d.vec, x, list(after[2:]), None)


def _repeated(here: Place, x: Node, times: Sequence[int]) -> Node | None:
    """Side by side; more than a few are too many operators."""
    if not fixed(times) or any(count > _COPIES for count in times):
        return None
    for _ in range(len(times) - len(shape(x))):
        x = here.call(aten.unsqueeze.default, x, 0)
    for axis, count in enumerate(times):
        if count > 1:
            x = here.call(aten.cat.default, [x] * count, axis)
    return x


def _line_grown(here: Place, x: Node, size: Sequence[int] | None, scales: Sequence[float] | None) -> Node | None:
    """Of a line, as of an image of one row."""
    row = here.call(aten.unsqueeze.default, x, -2)
    grown = here.call(
        aten.upsample_nearest2d.vec, row, None if size is None else [1, *size],
        None if scales is None else [1.0, *scales],
    )  # fmt: skip
    return here.call(aten.squeeze.dim, grown, -2)


RULES: dict[object, Rule] = {
    **dict.fromkeys((aten.alias.default, aten.detach.default), _same),
    **dict.fromkeys((aten.dropout.default, aten.feature_dropout.default), _dropout),
    aten.stack.default: _stacked,
    aten.cat.default: _without_empty,
    aten.narrow.default: _narrow,
    aten.movedim.int: _moved_axes,
    aten.movedim.intlist: _moved_axes,
    aten.t.default: _turned,
    aten.numpy_T.default: _turned,
    aten.unflatten.int: _unflattened,
    aten.roll.default: _rolled,
    aten.expand.default: _expanded,
    aten.repeat.default: _repeated,
    aten.pixel_shuffle.default: _pixels_shuffled,
    aten.pixel_unshuffle.default: _pixels_unshuffled,
    aten.channel_shuffle.default: _channels_shuffled,
    aten.upsample_nearest1d.vec: _line_grown,
}
