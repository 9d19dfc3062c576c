"""Windows: pooling over a line as pooling over an image of one row, adaptive pooling as pooling or a reduction."""

from collections.abc import Callable
from typing import Any

from torch.fx import Node

from paring.steps.quantize.rewrites.lists import first_readers
from paring.steps.quantize.rewrites.place import Place, Rule, aten, fixed, many, shape


def _on_image(pool: Any) -> Callable[..., Node]:
    def rule(here: Place, x: Node, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any, **options: Any) -> Node:
        row = here.call(aten.unsqueeze.default, x, -2)
        sizes = [[1, many(kernel)[0]], [1, (many(stride) or many(kernel))[0]], [0, many(padding)[0]]]
        if pool is aten.max_pool2d.default and rest:
            rest = ([1, many(rest[0])[0]], *rest[1:])  # the dilation
        return here.call(aten.squeeze.dim, here.call(pool, row, *sizes, *rest, **options), -2)

    return rule


def _adaptive_mean(here: Place, x: Node, output: Any) -> Node | None:
    if list(output) == [1, 1]:  # which kernels know by its name
        return None
    return _adaptive(here, x, list(output), aten.mean.dim, aten.avg_pool2d.default)


def _adaptive_largest(here: Place, x: Node, output: Any) -> None:
    readers = first_readers(here.node)  # of the values, not of where they were
    found = None if readers is None else _adaptive(here, x, list(output), aten.amax.default, aten.max_pool2d.default)
    if readers is not None and found is not None:
        for reader in readers:
            reader.replace_all_uses_with(found)


def _adaptive(here: Place, x: Node, output: list[int], reduction: Any, pool: Any) -> Node | None:
    """A reduction where one value is left, pooling where windows of one size cover all."""
    inner = shape(x)[-len(output) :]
    if all(size == 1 for size in output):
        return here.call(reduction, x, list(range(-len(output), 0)), True)
    if not fixed(inner) or any(size % parts for size, parts in zip(inner, output, strict=True)):
        return None
    windows = [size // parts for size, parts in zip(inner, output, strict=True)]
    if len(output) == 2:
        return here.call(pool, x, windows, windows)
    row = here.call(aten.unsqueeze.default, x, -2)
    return here.call(aten.squeeze.dim, here.call(pool, row, [1, *windows], [1, *windows]), -2)


def _padded_line(
    here: Place, x: Node, weight: Node, bias: Any = None, stride: Any = 1, padding: str = "valid", dilation: Any = 1,
    groups: int = 1,
) -> Node:  # fmt: skip
    """A convolution of lines whose padding is given by a name."""
    more = many(dilation)[0] * (shape(weight)[-1] - 1) if padding == "same" else 0
    if more % 2:
        x = here.call(aten.constant_pad_nd.default, x, [more // 2, more - more // 2])
        more = 0
    sizes = many(stride), [more // 2], many(dilation)
    return here.call(aten.conv1d.default, x, weight, bias, *sizes, groups)


RULES: dict[object, Rule] = {
    aten.conv1d.padding: _padded_line,
    aten.max_pool1d.default: _on_image(aten.max_pool2d.default),
    aten.avg_pool1d.default: _on_image(aten.avg_pool2d.default),
    aten.adaptive_avg_pool1d.default: _adaptive_mean,
    aten.adaptive_avg_pool2d.default: _adaptive_mean,
    aten.adaptive_max_pool1d.default: _adaptive_largest,
    aten.adaptive_max_pool2d.default: _adaptive_largest,
}
