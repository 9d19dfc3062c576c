"""Plain functions of a blueprint for arithmetic and arrays: name -> function of tensors with options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional


def _attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, scale: float | None, causal: bool
) -> Tensor:
    """softmax(q kᵀ · scale + mask) v over the last two dimensions; keys may have fewer heads."""
    return functional.scaled_dot_product_attention(
        query, key, value, mask, scale=scale, is_causal=causal, enable_gqa=query.shape[1] != key.shape[1]
    )


def _broadcast(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    """To `shape`; -1 keeps a size."""
    return x.expand(*shape)


def _cast(x: Tensor, *, dtype: str) -> Tensor:
    kind: torch.dtype = getattr(torch, dtype)
    return x.to(kind)


def _crop_to(x: Tensor, *, bounds: Sequence[Sequence[int]]) -> Tensor:
    """(dim, start, stop, step) of every dimension that is cut; a negative step goes backwards."""
    for dim, start, stop, step in bounds:
        if step < 0:
            last = x.shape[dim] - 1
            x, cut = x.flip(dim), slice(last - start, last - stop, -step)
        else:
            cut = slice(start, stop, step)
        x = x[(slice(None),) * dim + (cut,)]
    return x


def _cumulative_sum(x: Tensor, *, dim: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
    x = x.flip(dim) if reverse else x
    found = x.cumsum(dim, dtype=x.dtype)
    found = found - x if exclusive else found
    return found.flip(dim) if reverse else found


def _depth_to_space(x: Tensor, *, size: int) -> Tensor:
    """The block comes first in the channels: (batch, size, size, channels, height, width)."""
    n, c, h, w = x.shape
    x = x.reshape(n, size, size, c // (size * size), h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // (size * size), h * size, w * size)


def _space_to_depth(x: Tensor, *, size: int) -> Tensor:
    """The inverse of `depth_to_space`."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * size * size, h // size, w // size)


def _divide_into(x: Tensor, *, value: float) -> Tensor:
    """`value` / x, in whole numbers for whole numbers."""
    if x.dtype.is_floating_point:
        return value / x
    return torch.div(torch.full_like(x, value), x, rounding_mode="trunc")


def _einsum(*tensors: Tensor, equation: str) -> Tensor:
    found: Tensor = torch.einsum(equation, *tensors)
    return found


def _expand_batch(x: Tensor, like: Tensor, *, dim: int) -> Tensor:
    """Repeats a size of one as often as `like` has samples."""
    sizes = list(x.shape)
    sizes[dim] = like.shape[0]
    return x.expand(sizes)


def _gather_elements(x: Tensor, index: Tensor, *, dim: int) -> Tensor:
    index = index.long()
    return x.gather(dim, torch.where(index < 0, index + x.shape[dim], index))


def _gather_nd(x: Tensor, index: Tensor) -> Tensor:
    """The last dimension of `index` points into the first ones of `x`."""
    return x[tuple(index.long().unbind(-1))]


def _interpolate(
    x: Tensor,
    *,
    mode: str,
    size: Sequence[int] | None = None,
    scale: Sequence[float] | None = None,
    align_corners: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    factor = None if scale is None else list(scale)
    return functional.interpolate(
        x, None if size is None else list(size), factor, mode, align_corners, antialias=antialias
    )


def _maximum(*tensors: Tensor) -> Tensor:
    return reduce(torch.maximum, tensors)


def _minimum(*tensors: Tensor) -> Tensor:
    return reduce(torch.minimum, tensors)


def _norm(x: Tensor, *, order: float, dim: Sequence[int], keepdim: bool) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(x, order, list(dim), keepdim)
    return found


def _one_hot(index: Tensor, *, depth: int, dim: int, off: float, on: float, dtype: str) -> Tensor:
    kind: torch.dtype = getattr(torch, dtype)
    index = index.long()
    index = torch.where(index < 0, index + depth, index)
    hot = index.unsqueeze(-1) == torch.arange(depth, device=index.device)
    made = torch.where(hot, torch.tensor(on, dtype=kind), torch.tensor(off, dtype=kind))
    return made.movedim(-1, dim)


def _product(x: Tensor, *, dim: Sequence[int], keepdim: bool) -> Tensor:
    for one in sorted(dim, reverse=True):
        x = x.prod(one, keepdim=keepdim)
    return x


def _reshape_any(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    """To `shape`, in which -1 is what is left over."""
    return x.reshape(tuple(shape))


def _rows(x: Tensor, index: Tensor, *, dim: int) -> Tensor:
    """`index` of any shape points into one dimension, in whose place its shape comes."""
    index = index.long()
    index = torch.where(index < 0, index + x.shape[dim], index)
    found = x.index_select(dim, index.flatten())
    return found.reshape(*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])


def _scatter_elements(x: Tensor, index: Tensor, updates: Tensor, *, dim: int, add: bool = False) -> Tensor:
    index = index.long()
    index = torch.where(index < 0, index + x.shape[dim], index)
    return x.scatter_add(dim, index, updates) if add else x.scatter(dim, index, updates)


def _scatter_nd(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    return x.index_put(tuple(index.long().unbind(-1)), updates)


def _select(x: Tensor, *, dim: int, index: int) -> Tensor:
    return x.select(dim, index)


def _split(x: Tensor, *, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
    return torch.split_with_sizes(x, list(sizes), dim)


def _subtract_from(x: Tensor, *, value: float) -> Tensor:
    """`value` - x."""
    return value - x


def _sum_squares(x: Tensor, *, dim: Sequence[int], keepdim: bool) -> Tensor:
    return (x * x).sum(list(dim), keepdim)


def _top_k(x: Tensor, *, k: int, dim: int, largest: bool, ordered: bool) -> tuple[Tensor, Tensor]:
    values, indices = x.topk(k, dim, largest, ordered)
    return values, indices


def _triangle(x: Tensor, *, upper: bool, diagonal: int) -> Tensor:
    return x.triu(diagonal) if upper else x.tril(diagonal)


def _where(*tensors: Tensor, x: float | str | None = None, y: float | str | None = None) -> Tensor:
    """Condition, then what is chosen where it holds and where not; a number of these may be an option."""
    rest = list(tensors[1:])
    first = rest.pop(0) if x is None else float(x) if isinstance(x, str) else x  # infinities are strings in JSON
    second = rest.pop(0) if y is None else float(y) if isinstance(y, str) else y
    return torch.where(tensors[0], first, second)


ARRAYS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "absolute": torch.abs, "negative": torch.neg, "sign": torch.sign, "reciprocal": torch.reciprocal,
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "erf": torch.erf,
    "floor": torch.floor, "ceil": torch.ceil, "round": torch.round,
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan,
    "sinh": torch.sinh, "cosh": torch.cosh, "asinh": torch.asinh, "acosh": torch.acosh, "atanh": torch.atanh,
    "isnan": torch.isnan, "isinf": torch.isinf, "logical_not": torch.logical_not,
    "logical_and": torch.logical_and, "logical_or": torch.logical_or, "logical_xor": torch.logical_xor,
    "equal": torch.eq, "greater": torch.gt, "greater_equal": torch.ge, "less": torch.lt, "less_equal": torch.le,
    "divide": torch.div, "divide_into": _divide_into, "subtract_from": _subtract_from,
    "power": torch.pow, "remainder": torch.remainder, "fmod": torch.fmod,
    "maximum": _maximum, "minimum": _minimum, "clamp": torch.clamp, "where": _where,
    "matmul": torch.matmul, "einsum": _einsum, "attention": _attention,
    "sum": torch.sum, "amax": torch.amax, "amin": torch.amin, "product": _product, "norm": _norm,
    "sum_squares": _sum_squares, "logsumexp": torch.logsumexp, "argmax": torch.argmax, "argmin": torch.argmin,
    "cumulative_sum": _cumulative_sum, "top_k": _top_k,
    "cast": _cast, "broadcast": _broadcast, "expand_batch": _expand_batch, "reshape_any": _reshape_any,
    "squeeze": torch.squeeze, "unsqueeze": torch.unsqueeze, "flip": torch.flip, "tile": torch.tile,
    "crop_to": _crop_to, "select": _select, "split": _split, "rows": _rows,
    "gather_elements": _gather_elements, "gather_nd": _gather_nd,
    "scatter_elements": _scatter_elements, "scatter_nd": _scatter_nd,
    "one_hot": _one_hot, "triangle": _triangle, "interpolate": _interpolate,
    "depth_to_space": _depth_to_space, "space_to_depth": _space_to_depth, "pixel_shuffle": torch.pixel_shuffle,
}  # fmt: skip
