"""By what an error of a weight is measured: by the values alone, or by what it does to the layer's output.

A layer that reads x with second moment G = E x xᵀ errs by E |(W − Ŵ) x|² = tr (W − Ŵ) G (W − Ŵ)ᵀ. The best Ŵ of rank r
comes of a truncated SVD of W L, with L Lᵀ = G: reduced-rank regression (Izenman 1975), for networks in Zhang et al.
2015, arXiv:1505.06798, and Wang et al. 2024, "SVD-LLM", arXiv:2403.07378. With G = I it is the SVD of W.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """Second moments of what a layer reads, float64, positive definite; both None for the plain squared error.

    Attributes:
        full: of whole patches, shape (inputs × places of the kernel, the same); None for those too wide.
        channels: of single places, shape (inputs, inputs).
    """

    full: Tensor | None = None
    channels: Tensor | None = None

    @cached_property
    def root(self) -> Tensor | None:
        """The symmetric root of `channels`."""
        if self.channels is None:
            return None
        values, vectors = torch.linalg.eigh(self.channels)
        root: Tensor = (vectors * values.clamp_min(values[-1] * 1e-15).sqrt()) @ vectors.T
        return root

    def along(self, kernel: tuple[int, ...], axis: int) -> Tensor | None:
        """Of patches along one axis of the kernel, summed over the places of the others."""
        if self.full is not None:
            inputs = len(self.full) // int(torch.tensor(kernel).prod())
            moments = self.full.reshape(inputs, *kernel, inputs, *kernel)
            for other in reversed(range(len(kernel))):
                if other != axis:
                    moments = moments.diagonal(dim1=1 + other, dim2=(moments.ndim // 2) + 1 + other).sum(-1)
            return moments.reshape(inputs * kernel[axis], -1)
        if self.channels is not None:
            return torch.kron(self.channels, torch.eye(kernel[axis], dtype=self.channels.dtype))
        return None

    def loss(self, error: Tensor) -> float:
        """Of an error of the weight, shape (outputs, inputs, …)."""
        rows = error.flatten(1)
        if self.full is not None:
            return float(((rows @ self.full) * rows).sum())
        if self.channels is not None:
            places = error.flatten(2).movedim(1, -1)  # outputs, places, inputs
            return float(((places @ self.channels) * places).sum())
        return float(rows.square().sum())


PLAIN = Metric()


def fit(weight: Tensor, reads: Tensor, moments: Tensor | None) -> Tensor:
    """The last factor V that brings V · reads nearest to the weight: W G Aᵀ (A G Aᵀ)⁺.

    Args:
        weight: shape (outputs, n).
        reads: what the factors before it give of the input, shape (r, n).
        moments: shape (n, n); None for the identity.
    """
    weighed = reads if moments is None else reads @ moments
    last: Tensor = weight @ weighed.T @ torch.linalg.pinv(weighed @ reads.T, hermitian=True)
    return last


def principal(weight: Tensor, moments: Tensor | None) -> tuple[Tensor, Tensor]:
    """Left singular vectors of W L, one a column, and singular values, descending; the best Ŵ of rank r is P_r P_rᵀ W.

    Args:
        weight: shape (outputs, n).
        moments: L Lᵀ, shape (n, n); None for the identity.
    """
    weighed = weight if moments is None else weight @ torch.linalg.cholesky(moments)
    left, values, _ = torch.linalg.svd(weighed, full_matrices=False)
    return left, values
