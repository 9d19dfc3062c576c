"""Three factors: fewer channels, the kernel among them, all channels again.

Kim et al. 2016, "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications",
arXiv:1511.06530, Tucker-2: W[o,i,…] ≈ Σ C[b,a,…] O[o,b] I[i,a], by higher-order orthogonal iteration (TensorLy). With
data the input side is whitened; core and output side are then the best there are for the input side found.
"""

from functools import cached_property

import torch
from torch import Tensor, nn

from paring.steps.factorize.low_rank import vbmf
from paring.steps.factorize.low_rank.factors import Convolution, Factor, Layout, convolution
from paring.steps.factorize.low_rank.kernels import bias_of, decomposition, refusal, unwarned
from paring.steps.factorize.low_rank.metric import PLAIN, Metric, principal
from paring.steps.factorize.low_rank.split import NoFactors, Ranks, Split, multiples, told


class Tucker:
    """Contract: `split.Method`."""

    def refusal(self, layer: nn.Module) -> str:
        """Only convolutions have a kernel."""
        return refusal(layer)

    def split(self, layer: nn.Module, metric: Metric, counts: Tensor | None) -> Split:
        """The layer, ready."""
        assert isinstance(layer, Convolution)  # noqa: S101 - the others are refused
        return _Kernel(layer, metric)


class _Kernel:
    """Contract: `split.Split`. Ranks are (inputs of the core, its outputs)."""

    def __init__(self, layer: Convolution, metric: Metric) -> None:
        self._layer, self._metric = layer, metric
        self._weight = layer.weight.detach().double()
        outputs, inputs = self._weight.shape[:2]
        places = self._places = self._weight[0, 0].numel()
        self.most: Ranks = (min(inputs, outputs * places), min(outputs, inputs * places))

    @cached_property
    def _whitened(self) -> Tensor:
        root = self._metric.root
        return self._weight if root is None else torch.tensordot(self._weight, root, ([1], [0])).movedim(-1, 1)

    @cached_property
    def _tails(self) -> tuple[Tensor, Tensor]:
        """For inputs and outputs, by how many stay: the share of the energy that their unfolding loses."""
        found = []
        for axis in (1, 0):
            energy = torch.linalg.svdvals(self._whitened.movedim(axis, 0).flatten(1)).square()
            lost = 1 - energy.cumsum(0) / energy.sum().clamp_min(1e-300)
            found.append(torch.cat([lost.new_ones(1), lost]).clamp_min(0))
        return found[0], found[1]

    def ladder(self, round_to: int) -> list[Ranks]:
        """From the smallest pair up, always on the side that loses more."""
        sides = [multiples(most, round_to) for most in self.most]
        at = [0, 0]
        found: list[Ranks] = [(sides[0][0], sides[1][0])]
        while found[-1] != self.most:
            lost = [
                float(tail[side[place]]) if place + 1 < len(side) else -1.0
                for tail, side, place in zip(self._tails, sides, at, strict=True)
            ]
            at[lost.index(max(lost))] += 1
            found.append((sides[0][at[0]], sides[1][at[1]]))
        return [one for one in found if self._fit_together(one)]

    def kept(self, ranks: Ranks) -> float:
        """At least: what both sides lose adds up at most."""
        return 1 - sum(float(tail[rank]) for tail, rank in zip(self._tails, ranks, strict=True))

    def vbmf(self) -> Ranks:
        rows = [self._weight.movedim(axis, 0).flatten(1).numpy() for axis in (1, 0)]
        return vbmf.rank(rows[0]), vbmf.rank(rows[1])

    def layout(self, ranks: Ranks) -> list[Layout]:
        layer, (given, taken) = self._layer, ranks
        return [
            convolution(layer, layer.in_channels, given),
            convolution(layer, given, taken, range(len(layer.kernel_size))),
            convolution(layer, taken, layer.out_channels, bias=layer.bias is not None),
        ]

    def factors(self, ranks: Ranks) -> list[Factor]:
        if not self._fit_together(ranks):
            raise NoFactors(f"rank {told(ranks)}: one side cannot be more than {self._places} times the other")
        sides = [self._input_side(self._whitened, ranks)]
        if self._metric is not PLAIN:
            root = self._metric.root
            sides[0] = sides[0] if root is None else torch.linalg.solve(root, sides[0])
            sides.append(self._input_side(self._weight, ranks))
        parts = min(
            (self._fitted(side, ranks[1]) for side in sides),
            key=lambda one: self._metric.loss(self._weight - self._product(*one)),
        )
        spaces = [1] * (self._weight.ndim - 2)
        first, core, last = parts
        weights = (first.reshape(*first.shape, *spaces), core, last.reshape(*last.shape, *spaces))
        biases = (None, None, bias_of(self._layer))
        return [Factor(*one) for one in zip(self.layout(ranks), weights, biases, strict=True)]

    def _fit_together(self, ranks: Ranks) -> bool:
        """Whether a core of these sides can use all of both."""
        return max(ranks) <= self._places * min(ranks)

    def _input_side(self, weight: Tensor, ranks: Ranks) -> Tensor:
        """Shape (inputs, rank)."""
        outputs, inputs = weight.shape[:2]
        whole = weight.reshape(outputs, inputs, -1).numpy()
        with unwarned():
            (_, factors), _ = decomposition("factorize.tucker").partial_tucker(
                whole, rank=[ranks[1], ranks[0]], modes=[0, 1], init="svd", random_state=0
            )
        return torch.from_numpy(factors[1].copy())

    def _fitted(self, side: Tensor, taken: int) -> tuple[Tensor, Tensor, Tensor]:
        """First factor, core and last factor: the best for what `side` spans of the inputs."""
        q = torch.linalg.qr(side).Q  # (inputs, rank)
        outputs, places = len(self._weight), self._places
        eye = torch.eye(places, dtype=q.dtype)
        if self._metric.full is not None:
            reads = torch.einsum("ia,pq->apiq", q, eye).reshape(q.shape[1] * places, -1)  # of whole patches
            among = reads @ self._metric.full @ reads.T
            weighed = self._weight.flatten(1) @ self._metric.full @ reads.T
            wide = weighed @ torch.linalg.pinv(among, hermitian=True)
        elif self._metric.channels is not None:
            small = q.T @ self._metric.channels @ q
            seen = torch.linalg.pinv(small, hermitian=True) @ q.T @ self._metric.channels  # (rank, inputs)
            wide = torch.einsum("ai,oip->oap", seen, self._weight.flatten(2)).reshape(outputs, -1)
            among = torch.kron(small, eye)
        else:
            wide = torch.einsum("ia,oip->oap", q, self._weight.flatten(2)).reshape(outputs, -1)
            among = None
        left = principal(wide, among)[0][:, :taken]
        core = (left.T @ wide).reshape(left.shape[1], q.shape[1], *self._weight.shape[2:])
        return q.T, core, left

    def _product(self, first: Tensor, core: Tensor, last: Tensor) -> Tensor:
        return torch.einsum("ai,bap,ob->oip", first, core.flatten(2), last).reshape(self._weight.shape)
