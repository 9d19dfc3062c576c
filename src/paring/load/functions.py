"""Plain functions of a blueprint, beyond the commonest: name -> function of tensors with keyword options."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def _batch_dot(x: Tensor, y: Tensor, *, axes: Sequence[int], normalize: bool = False) -> Tensor:
    """Contracts one axis of each, sample by sample; what remains of `x` comes before what remains of `y`."""
    if normalize:
        x, y = _unit(x, dim=[axes[0]], eps=1e-12), _unit(y, dim=[axes[1]], eps=1e-12)
    x, y = x.movedim(axes[0], -1), y.movedim(axes[1], 1)
    found = x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)
    found = found @ (y.flatten(2) if y.ndim > 2 else y.unsqueeze(2))
    rest = (*x.shape[1:-1], *y.shape[2:])
    return found.reshape(x.shape[0], *(rest or (1,)))


def _broadcast_repeat(x: Tensor, *, times: int) -> Tensor:
    """(batch, values) -> (batch, times, values)."""
    return x.unsqueeze(1).expand(-1, times, -1)


def _cast(x: Tensor, *, dtype: str) -> Tensor:
    kind: torch.dtype = getattr(torch, dtype)
    return x.to(kind)


def _constant(x: Tensor, *, function: str, value: float | Sequence[float], swap: bool = False) -> Tensor:
    """An arithmetic function of the tensor and a constant, which comes first where `swap` is set."""
    other = torch.tensor(value, dtype=x.dtype) if isinstance(value, Sequence) or swap else value
    apply = _ARITHMETIC[function]
    return apply(other, x) if swap else apply(x, other)


def _crop(x: Tensor, *, amounts: Sequence[Sequence[int]]) -> Tensor:
    """Cuts (before, after) off each of the last dimensions."""
    for dim, (before, after) in enumerate(amounts, x.ndim - len(amounts)):
        if before or after:
            x = x[(slice(None),) * dim + (slice(before, x.shape[dim] - after),)]
    return x


def _einsum(*tensors: Tensor, equation: str) -> Tensor:
    found: Tensor = torch.einsum(equation, *tensors)
    return found


def _expand(x: Tensor, *, shape: Sequence[int]) -> Tensor:
    """To (batch, *shape), sizes of one repeated."""
    return x.expand(x.shape[0], *shape)


def _maximum_of(*tensors: Tensor) -> Tensor:
    found = tensors[0]
    for tensor in tensors[1:]:
        found = torch.maximum(found, tensor)
    return found


def _minimum_of(*tensors: Tensor) -> Tensor:
    found = tensors[0]
    for tensor in tensors[1:]:
        found = torch.minimum(found, tensor)
    return found


def _mask_out(x: Tensor, *, value: float) -> Tensor:
    """Zeroes the steps of a sequence whose features all equal `value`."""
    return x * (x != value).any(-1, keepdim=True)


def _merge_time(x: Tensor) -> Tensor:
    """(batch, time, …) -> (batch * time, …)."""
    return x.flatten(0, 1)


def _split_time(x: Tensor, *, steps: int) -> Tensor:
    """The inverse of `merge_time`."""
    return x.reshape(-1, steps, *x.shape[1:])


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    """PReLU with a slope for every element."""
    return torch.relu(x) - slope * torch.relu(-x)


def _rectify(x: Tensor, *, negative_slope: float, max_value: float | None, threshold: float) -> Tensor:
    """ReLU in general: `x` from the threshold on, the slope times (x - threshold) below it, at most `max_value`."""
    found = torch.where(x >= threshold, x, negative_slope * (x - threshold))
    return found if max_value is None else found.clamp(max=max_value)


def _repeat_interleave(x: Tensor, *, repeats: int, dim: int) -> Tensor:
    return x.repeat_interleave(repeats, dim)


def _resize(x: Tensor, *, size: Sequence[int], mode: str, antialias: bool = False) -> Tensor:
    if mode in ("bilinear", "bicubic"):
        return functional.interpolate(x, tuple(size), mode=mode, align_corners=False, antialias=antialias)
    return functional.interpolate(x, tuple(size), mode=mode)


def _scaled_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, scale: float, causal: bool = False
) -> Tensor:
    """softmax(q kᵀ · scale) v over the last two dimensions; a boolean mask tells what may be looked at."""
    if causal and mask is None:
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    elif causal and mask is not None:
        mask = mask & torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    return functional.scaled_dot_product_attention(query, key, value, mask, scale=scale)


def _additive_scores(query: Tensor, key: Tensor, scale: Tensor | None = None) -> Tensor:
    """The sum of tanh(q + k), each feature scaled: (batch, steps, d), (batch, others, d) -> (batch, steps, others)."""
    found = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))
    return (found if scale is None else scale * found).sum(-1)


def _scores_softmax(scores: Tensor, *, causal: bool = False) -> Tensor:
    """Attention weights; scores of what comes later are lowered where `causal` is set."""
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = torch.where(later, scores - 1e9, scores)
    return scores.softmax(-1)


def _slice(x: Tensor, *, bounds: Sequence[tuple[int, int | None, int | None, int | None]]) -> Tensor:
    """(dim, start, stop, step) of every dimension that is cut."""
    for dim, start, stop, step in bounds:
        x = x[(slice(None),) * dim + (slice(start, stop, step),)]
    return x


def _select(x: Tensor, *, dim: int, index: int) -> Tensor:
    return x.select(dim, index)


def _split(x: Tensor, *, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
    return torch.split(x, list(sizes), dim)


def _stack(*tensors: Tensor, dim: int) -> Tensor:
    return torch.stack(tensors, dim)


def _squareplus(x: Tensor, *, b: float = 4.0) -> Tensor:
    return (x + torch.sqrt(x * x + b)) / 2


def _sparse_plus(x: Tensor) -> Tensor:
    return torch.where(x <= -1, torch.zeros_like(x), torch.where(x < 1, (x + 1) ** 2 / 4, x))


def _sparse_sigmoid(x: Tensor) -> Tensor:
    return ((x + 1) / 2).clamp(0, 1)


def _unit(x: Tensor, *, dim: Sequence[int], eps: float) -> Tensor:
    """Divided by its Euclidean norm over `dim`; `eps` is the least square of that norm."""
    return x * torch.rsqrt((x * x).sum(list(dim), keepdim=True).clamp(min=eps))


_ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    "power": torch.pow,
    "maximum": lambda x, y: x.clamp(min=y) if isinstance(y, int | float) else torch.maximum(x, y),
    "minimum": lambda x, y: x.clamp(max=y) if isinstance(y, int | float) else torch.minimum(x, y),
}

FUNCTIONS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "absolute": torch.abs,
    "additive_scores": _additive_scores,
    "amax": torch.amax,
    "amin": torch.amin,
    "batch_dot": _batch_dot,
    "broadcast_repeat": _broadcast_repeat,
    "cast": _cast,
    "clamp": torch.clamp,
    "constant_arithmetic": _constant,
    "crop": _crop,
    "divide": torch.div,
    "einsum": _einsum,
    "exp": torch.exp,
    "expand": _expand,
    "flip": torch.flip,
    "log": torch.log,
    "mask_out": _mask_out,
    "matmul": torch.matmul,
    "maximum": _maximum_of,
    "merge_time": _merge_time,
    "minimum": _minimum_of,
    "negative": torch.neg,
    "power": torch.pow,
    "prelu": _prelu,
    "rectify": _rectify,
    "repeat_interleave": _repeat_interleave,
    "resize": _resize,
    "rsqrt": torch.rsqrt,
    "scaled_attention": _scaled_attention,
    "scores_softmax": _scores_softmax,
    "select": _select,
    "slice": _slice,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _sparse_sigmoid,
    "split": _split,
    "split_time": _split_time,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "squareplus": _squareplus,
    "squeeze": torch.squeeze,
    "stack": _stack,
    "sum": torch.sum,
    "unit": _unit,
    "unsqueeze": torch.unsqueeze,
}
