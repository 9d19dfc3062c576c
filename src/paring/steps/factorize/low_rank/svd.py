"""Two factors from a singular value decomposition.

Linear: W ≈ V A. Convolution, Jaderberg et al. 2014, "Speeding up Convolutional Neural Networks with Low Rank
Expansions", arXiv:1405.3866, scheme 2: with kernel k×l a convolution k×1 to r channels, then one 1×l; the matrix whose
SVD gives both has rows (output, place across) and columns (input, place down). Embedding: E ≈ (E V) Vᵀ.
"""

from functools import cached_property

import torch
from torch import Tensor, nn

from paring.steps.factorize.low_rank.factors import Convolution, Factor, Layout, convolution, linear
from paring.steps.factorize.low_rank.metric import PLAIN, Metric, fit, principal
from paring.steps.factorize.low_rank.split import Ranks, Split, multiples
from paring.steps.factorize.low_rank.vbmf import rank as vbmf_rank


class Svd:
    """Contract: `split.Method`."""

    def refusal(self, layer: nn.Module) -> str:
        """It takes every layer apart."""
        return ""

    def split(self, layer: nn.Module, metric: Metric, counts: Tensor | None) -> Split:
        """The layer, ready."""
        if isinstance(layer, nn.Embedding):
            return _Table(layer, counts)
        return _Matrix(layer, metric)


class _OneRank:
    most: Ranks
    _values: Tensor  # singular, descending

    def ladder(self, round_to: int) -> list[Ranks]:
        return [(rank,) for rank in multiples(self.most[0], round_to)]

    def kept(self, ranks: Ranks) -> float:
        energy = self._values.square()
        return float(energy[: ranks[0]].sum() / energy.sum().clamp_min(1e-300))


class _Matrix(_OneRank):
    """A linear layer (a kernel without places), or a convolution. Contract: `split.Split`."""

    def __init__(self, layer: nn.Module, metric: Metric) -> None:
        self._layer, self._metric = layer, metric
        weight = layer.get_parameter("weight").detach().double()
        self._weight = weight.reshape(*weight.shape, *[1] * (4 - weight.ndim))
        self._outputs, self._inputs, self._down, self._across = self._weight.shape
        # rows (output, place across), columns (input, place down)
        self._rows = self._weight.permute(0, 3, 1, 2).reshape(self._outputs * self._across, -1)
        self.most = (min(self._rows.shape),)

    @cached_property
    def _principal(self) -> tuple[Tensor, Tensor]:
        return principal(self._rows, self._metric.along((self._down, self._across), 0))

    @property
    def _values(self) -> Tensor:  # type: ignore[override]
        return self._principal[1]

    def vbmf(self) -> Ranks:
        return (vbmf_rank(self._rows.numpy()),)

    def layout(self, ranks: Ranks) -> list[Layout]:
        (rank,), layer, bias = ranks, self._layer, self._layer.bias is not None
        if isinstance(layer, nn.Linear):
            return [linear(layer.in_features, rank, bias=False), linear(rank, layer.out_features, bias=bias)]
        assert isinstance(layer, Convolution)  # noqa: S101 - the only other kind
        across = [axis for axis in range(1, len(layer.kernel_size)) if layer.kernel_size[axis] > 1]
        down = [axis for axis in range(len(layer.kernel_size)) if axis not in across]
        return [
            convolution(layer, layer.in_channels, rank, down),
            convolution(layer, rank, layer.out_channels, across, bias=bias),
        ]

    def factors(self, ranks: Ranks) -> list[Factor]:
        left = [self._principal[0]]
        if self._metric is not PLAIN and self._across > 1:  # whitened down the kernel alone, it may be the worse
            left.append(principal(self._rows, None)[0])
        first, last = min(
            (self._fitted(one[:, : ranks[0]]) for one in left),
            key=lambda pair: self._metric.loss(self._weight - self._product(*pair)),
        )
        bias = None if self._layer.bias is None else self._layer.get_parameter("bias").detach()
        first_layout, last_layout = self.layout(ranks)
        spaces = self._layer.get_parameter("weight").ndim - 2  # 0 of a linear layer, else dimensions of its images
        return [
            Factor(first_layout, _kernel(first, spaces, 0)),
            Factor(last_layout, _kernel(last, spaces, 1), bias),
        ]

    def _fitted(self, left: Tensor) -> tuple[Tensor, Tensor]:
        """First factor, shape (r, inputs, down), and last, shape (outputs, r, across)."""
        rank = left.shape[1]
        first = left.T @ self._rows
        last = left.reshape(self._outputs, self._across, rank).movedim(1, 2)
        if self._metric.full is not None and self._across > 1:
            reads = torch.einsum("rn,wv->rwnv", first, torch.eye(self._across, dtype=first.dtype))
            flat = fit(self._weight.flatten(1), reads.reshape(rank * self._across, -1), self._metric.full)
            last = flat.reshape(self._outputs, rank, self._across)
        return first.reshape(rank, self._inputs, self._down), last

    def _product(self, first: Tensor, last: Tensor) -> Tensor:
        return torch.einsum("rih,orw->oihw", first, last)


class _Table(_OneRank):
    """An embedding. Contract: `split.Split`.

    Rows count as often as they are looked up, and once more. The padding's row stays what it is: the space that all are
    put into holds it.
    """

    def __init__(self, layer: nn.Embedding, counts: Tensor | None) -> None:
        self._layer = layer
        self._rows = layer.weight.detach().double()
        self._weights = torch.ones(len(self._rows), dtype=torch.float64) if counts is None else counts.double() + 1
        self.most = (min(self._rows.shape),)

    @cached_property
    def _principal(self) -> tuple[Tensor, Tensor]:
        """Directions, one a column, and singular values."""
        fixed = self._fixed
        rest = self._rows - self._rows @ fixed @ fixed.T
        energy, directions = torch.linalg.eigh((rest * self._weights[:, None]).T @ rest)
        order = energy.argsort(descending=True)
        own = ((self._rows @ fixed).square() * self._weights[:, None]).sum(0)
        values = torch.cat([own, energy[order]]).clamp_min(0).sqrt()
        return torch.cat([fixed, directions[:, order]], 1)[:, : self.most[0]], values[: self.most[0]]

    @property
    def _fixed(self) -> Tensor:
        """The direction of the padding's row, one column, or none."""
        row = self._rows[self._layer.padding_idx] if self._layer.padding_idx is not None else self._rows.new_zeros(1)
        return row[:, None] / row.norm() if row.norm() > 0 else self._rows.new_zeros(self._rows.shape[1], 0)

    @property
    def _values(self) -> Tensor:  # type: ignore[override]
        return self._principal[1]

    def vbmf(self) -> Ranks:
        return (vbmf_rank(self._rows.numpy()),)

    def layout(self, ranks: Ranks) -> list[Layout]:
        table = self._layer
        looked_up = {"layer": "Embedding", "num_embeddings": table.num_embeddings, "embedding_dim": ranks[0]}
        return [
            {**looked_up, "padding_idx": table.padding_idx},
            linear(ranks[0], table.embedding_dim, bias=False),
        ]

    def factors(self, ranks: Ranks) -> list[Factor]:
        directions = self._principal[0][:, : ranks[0]]
        values = (self._rows @ directions, directions)
        return [Factor(layout, value) for layout, value in zip(self.layout(ranks), values, strict=True)]


def _kernel(matrices: Tensor, spaces: int, axis: int) -> Tensor:
    """A weight with places along one axis, shape (outputs, inputs, places), with one place along the others."""
    outputs, inputs, places = matrices.shape
    return matrices.reshape(outputs, inputs, *[places if one == axis else 1 for one in range(spaces)])
