"""The range with the smallest loss, by search."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
_SHARES = torch.linspace(1.0, 0.01, 100, dtype=torch.float64)
_FINER = torch.linspace(0.01, -0.01, 21, dtype=torch.float64)
_ROUNDS = 2


def best_range(low: float, high: float, loss: Loss, *, symmetric: bool) -> tuple[float, float]:
    """The range inside [low, high] that loses least; zero always lies in it.

    Both ends are drawn in together first, then each by itself, in turns.

    Args:
        low: the smallest value.
        high: the largest one.
        loss: lows and highs, each of shape (candidates,) -> the loss of each candidate.
        symmetric: whether low is to be −high.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        extreme = max(-low, high)
        share = _best(lambda shares: loss(-extreme * shares, extreme * shares))
        return -extreme * share, extreme * share
    start = end = _best(lambda shares: loss(low * shares, high * shares))
    if low < 0.0 < high:
        for _ in range(_ROUNDS):
            end = _best(partial(_one_end, loss, high, other=low * start, upper=True))
            start = _best(partial(_one_end, loss, low, other=high * end, upper=False))
    return low * start, high * end


def _one_end(loss: Loss, extreme: float, shares: Tensor, *, other: float, upper: bool) -> Tensor:
    fixed = torch.full_like(shares, other)
    return loss(fixed, extreme * shares) if upper else loss(extreme * shares, fixed)


def _best(loss: Callable[[Tensor], Tensor]) -> float:
    coarse = _SHARES[loss(_SHARES).argmin()]
    shares = (coarse + _FINER).clamp(0.001, 1.0)
    return float(shares[loss(shares).argmin()])
