"""Four factors: fewer channels, the kernel down and across for each of them alone, all channels again.

Lebedev et al. 2015, "Speeding-up Convolutional Neural Networks Using Fine-tuned CP-Decomposition", arXiv:1412.6553,
W[o,i,h,w] ≈ Σ_r O[o,r] I[i,r] H[h,r] A[w,r], by alternating least squares (TensorLy). A best approximation need not
exist: components can grow without bound and cancel (de Silva and Lim 2008, arXiv:math/0607647). A ridge keeps them from
it on the way, and is taken off for the last sweeps; fits that have not settled, or whose components cancel all the
same, are not taken. With data the input side is whitened. The output side is fitted once more at the end.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from paring.steps.factorize.low_rank import vbmf
from paring.steps.factorize.low_rank.factors import Convolution, Factor, Layout, convolution
from paring.steps.factorize.low_rank.kernels import bias_of, decomposition, refusal, unwarned
from paring.steps.factorize.low_rank.metric import Metric, fit
from paring.steps.factorize.low_rank.split import NoFactors, Ranks, Split, multiples

_STARTS = 3  # the singular vectors, then chance
_SWEEPS, _POLISH = 300, 20  # at most: with the ridge, and without
_SETTLED = 1e-4  # of the norm: that the error falls by less in a sweep ends them
_RIDGE = 1e-3  # of a weight whose norm is 1
_SWOLLEN = 100.0  # the components' energies together, as a multiple of the weight's: more is degenerate

Components = tuple[NDArray[np.float64], list[NDArray[np.float64]]]
"""Weights, and factor matrices of unit columns."""


class Cp:
    """Contract: `split.Method`.

    Args:
        seed: of the starts by chance.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def refusal(self, layer: nn.Module) -> str:
        """Only convolutions have a kernel."""
        return refusal(layer)

    def split(self, layer: nn.Module, metric: Metric, counts: Tensor | None) -> Split:
        """The layer, ready."""
        assert isinstance(layer, Convolution)  # noqa: S101 - the others are refused
        return _Kernel(layer, metric, self._seed)


class _Kernel:
    """Contract: `split.Split`."""

    def __init__(self, layer: Convolution, metric: Metric, seed: int) -> None:
        self._layer, self._metric, self._seed = layer, metric, seed
        self._weight = layer.weight.detach().double()
        self._fits: dict[int, tuple[list[Tensor], float]] = {}
        # A tensor has no larger rank than its entries divided by its longest axis.
        self.most: Ranks = (self._weight.numel() // max(self._weight.shape),)

    @cached_property
    def _whitened(self) -> Tensor:
        root = self._metric.root
        return self._weight if root is None else torch.tensordot(self._weight, root, ([1], [0])).movedim(-1, 1)

    def ladder(self, round_to: int) -> list[Ranks]:
        return [(rank,) for rank in multiples(self.most[0], round_to)]

    def kept(self, ranks: Ranks) -> float:
        return 1 - self._fit(ranks[0])[1] ** 2

    def vbmf(self) -> Ranks:
        """The larger of the two sides: a CP rank is no less than that of any unfolding."""
        return (max(vbmf.rank(self._weight.movedim(axis, 0).flatten(1).numpy()) for axis in (0, 1)),)

    def layout(self, ranks: Ranks) -> list[Layout]:
        layer, (rank,) = self._layer, ranks
        alone = [convolution(layer, rank, rank, [axis], groups=rank) for axis in self._axes]
        return [
            convolution(layer, layer.in_channels, rank),
            *alone,
            convolution(layer, rank, layer.out_channels, bias=layer.bias is not None),
        ]

    def factors(self, ranks: Ranks) -> list[Factor]:
        last, first, *along = self._fit(ranks[0])[0]
        if self._metric.root is not None:
            first = torch.linalg.solve(self._metric.root, first)
        spaces = self._weight.ndim - 2
        reads = first.T
        for one in along:
            reads = torch.einsum("r...,hr->r...h", reads, one)
        last = fit(self._weight.flatten(1), reads.flatten(1), self._metric.full)
        kernels = [
            one.T.reshape(-1, 1, *[len(one) if axis == place else 1 for place in range(spaces)])
            for axis, one in enumerate(along)
            if axis in self._axes
        ]
        for axis, one in enumerate(along):  # a single place is a number for each channel
            if axis not in self._axes:
                first = first * one[0]
        ones = [1] * spaces
        weights = [first.T.reshape(*first.T.shape, *ones), *kernels, last.reshape(*last.shape, *ones)]
        biases = [*[None] * (len(weights) - 1), bias_of(self._layer)]
        return [Factor(*one) for one in zip(self.layout(ranks), weights, biases, strict=True)]

    @property
    def _axes(self) -> list[int]:
        """Of space, along which something is to be done."""
        layer = self._layer
        padded = [not isinstance(layer.padding, str) and layer.padding[a] != 0 for a in range(len(layer.kernel_size))]
        return [
            axis
            for axis, size in enumerate(layer.kernel_size)
            if size > 1 or layer.stride[axis] > 1 or padded[axis]
        ]  # fmt: skip

    def _fit(self, rank: int) -> tuple[list[Tensor], float]:
        """Factor matrices of outputs, inputs and places, and the error as a share of the norm."""
        if rank not in self._fits:
            self._fits[rank] = settled(self._whitened.numpy(), rank, self._seed)
        return self._fits[rank]


def settled(tensor: NDArray[np.float64], rank: int, seed: int) -> tuple[list[Tensor], float]:
    """Factor matrices, the weights in the first of them, and the error as a share of the norm.

    Args:
        tensor: not 0.
        rank: of the decomposition.
        seed: of the starts by chance.

    Raises:
        NoFactors: no start ends in a fit.
    """
    norm, why = float(np.linalg.norm(tensor)), ""
    for start in range(_STARTS):
        try:
            found = _sweeps(tensor / norm, rank, "random" if start else "svd", seed + start)
        except NoFactors as reason:
            why = str(reason)
            continue
        error, (weights, factors) = min(((_error(tensor / norm, one), one) for one in found), key=lambda one: one[0])
        scaled = [factors[0] * weights * norm, *factors[1:]]
        return [torch.from_numpy(np.ascontiguousarray(one)) for one in scaled], error
    raise NoFactors(f"CP does not converge at rank {rank}: {why}")


def _sweeps(tensor: NDArray[np.float64], rank: int, init: Any, seed: int) -> list[Components]:
    """Components with the ridge and, where they are sound, without it."""
    parafac = decomposition("factorize.cp").parafac
    errors: list[float] = []
    options = {"normalize_factors": True, "random_state": seed}
    try:
        with unwarned():
            first: Components = parafac(
                tensor, rank, _SWEEPS, init, tol=_SETTLED, l2_reg=_RIDGE, **options,
                callback=lambda _, error: errors.append(float(error)),
            )  # fmt: skip
            polished: Components = parafac(
                tensor, rank, _POLISH, (first[0].copy(), [one.copy() for one in first[1]]), tol=1e-9, **options
            )
    except np.linalg.LinAlgError as fault:
        raise NoFactors(f"components became alike ({fault})") from fault
    if not np.isfinite(_error(tensor, first)):
        raise NoFactors("the sweeps diverged")
    if errors[-2] - errors[-1] > _SETTLED:
        raise NoFactors(f"the error still fell after {_SWEEPS} sweeps")
    if (energy := _energy(first)) > _SWOLLEN:
        raise NoFactors(f"components cancel each other, at {energy:.0f} times the weight's energy")
    sound = np.isfinite(_error(tensor, polished)) and _energy(polished) <= _SWOLLEN
    return [first, polished] if sound else [first]


def _energy(components: Components) -> float:
    return float(np.square(components[0]).sum())


def _error(tensor: NDArray[np.float64], components: Components) -> float:
    """Of the sum of components, as a share of the norm."""
    weights, factors = components
    parts = factors[0] * weights
    for one in factors[1:]:
        parts = np.einsum("...r,nr->...nr", parts, one)
    return float(np.linalg.norm(tensor - parts.sum(-1)) / np.linalg.norm(tensor))
