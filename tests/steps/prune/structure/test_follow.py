"""Channels are followed through whatever moves, joins, splits or mixes them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import glu, pixel_shuffle, silu

from paring.core.model import Model, Source, TensorSpec
from paring.load import probe
from paring.steps.prune.structure.proof import prunable


class Net(nn.Module):
    """Two convolutions around a function of the first one's channels, of which the second reads so many."""

    def __init__(self, between: Callable[[Tensor], Tensor], read: int, given: int = 16) -> None:
        super().__init__()
        self.a, self.between, self.b = nn.Conv2d(3, given, 3, padding=1), between, nn.Conv2d(read, 8, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.b(self.between(self.a(image)))


def model(net: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> Model:
    return probe.model(net.eval(), Source("test"), (TensorSpec.of("x", shape),))


def units(net: nn.Module, shape: tuple[int, ...] = (3, 8, 8)) -> list[tuple[tuple[int, ...], ...]]:
    """The first layer's channels, by the units of each of its groups."""
    return [group.members["a", "out"] for group in prunable(model(net, shape)).groups if group.layers[0] == "a"]


def pairs(one: range, other: range) -> tuple[tuple[int, int], ...]:
    return tuple(zip(one, other, strict=True))


def shuffled(x: Tensor) -> Tensor:
    return x.view(len(x), 4, x.shape[1] // 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def written(x: Tensor) -> Tensor:
    z = torch.zeros_like(x)
    z[:, : x.shape[1] // 2] = x[:, x.shape[1] // 2 :]
    z[:, x.shape[1] // 2 :] += x[:, : x.shape[1] // 2]
    return z


@pytest.mark.parametrize(
    ("between", "read", "wanted"),
    [
        (lambda x: x.chunk(2, 1)[0] + 2 * x.chunk(2, 1)[1], 8, pairs(range(8), range(8, 16))),
        (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), 16, pairs(range(8), range(8, 16))),
        (lambda x: torch.cat([x[:, ::2], x[:, 1::2].relu()], 1), 16, pairs(range(0, 16, 2), range(1, 16, 2))),
        (lambda x: glu(x, 1), 8, pairs(range(8), range(8, 16))),
        (lambda x: silu(x[:, : x.shape[1] // 2]) * x[:, x.shape[1] // 2 :], 8, pairs(range(8), range(8, 16))),
        (shuffled, 16, tuple((i, i + 4, i + 8, i + 12) for i in range(4))),
        (written, 16, pairs(range(8), range(8, 16))),
        (lambda x: pixel_shuffle(x, 2), 4, tuple(tuple(range(4 * i, 4 * i + 4)) for i in range(4))),
        (lambda x: x.flip(1), 16, tuple((i,) for i in range(16))),
        (lambda x: (x.flatten(2).transpose(1, 2) + 1).mT.unflatten(2, (8, 8)), 16, tuple((i,) for i in range(16))),
        (lambda x: x[:, 4:], 12, tuple((i,) for i in range(4, 16))),
        (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), 16, tuple((i,) for i in range(16))),
    ],
)
def test_pieces_of_a_layer_lose_what_keeps_them_alike(between, read, wanted):
    assert units(Net(between, read)) == [wanted]


@pytest.mark.parametrize(
    ("between", "read", "reason"),
    [
        (lambda x: x.split([4, 12], 1)[1], 12, "network fails"),
        (lambda x: x.view(-1, 16, 64).view(x.shape), 16, "network fails: shape"),
        (lambda x: x.softmax(1), 16, "mixes its channels or needs all of them (softmax)"),
        (lambda x: x / (x.pow(2).mean(1, keepdim=True) + 1e-6).sqrt(), 16, "(mean)"),
        (lambda x: x.cumsum(1), 16, "(cumsum)"),
        (lambda x: torch.fft.rfft2(x).abs(), 16, "(_fft_r2c)"),
        (lambda x: (x.flatten(2).mT @ x.flatten(2)).flatten(1)[:, :16, None, None], 16, "(a product)"),
    ],
)
def test_what_has_to_stay_is_told_with_what_keeps_it(between, read, reason):
    found = prunable(model(Net(between, read)))
    assert not found.groups
    assert reason in found.skipped["a"]


class C2f(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.m = nn.Conv2d(3, 32, 1), nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.b, self.out = nn.Conv2d(64, 24, 1), nn.Conv2d(24, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.a(x).chunk(2, 1))
        for one in self.m:
            parts.append(parts[-1] + one(parts[-1]))
        return self.out(self.b(torch.cat(parts, 1)))


def test_halves_of_a_c2f_block_lose_the_same_channels():
    groups = {group.layers: group for group in prunable(model(C2f())).groups}
    halves = groups["a", "m.0", "m.1"]
    assert halves.members["a", "out"] == pairs(range(16), range(16, 32))
    assert halves.members["b", "in"][3] == (3, 19, 35, 51)
    assert ("b",) in groups


class Uneven(nn.Module):
    """Two parts of a layer that are read each by a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 24, 1)
        self.b, self.c = nn.Conv2d(8, 6, 1), nn.Conv2d(16, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x[:, :8]) + self.c(x[:, 8:])


def test_groups_of_one_layer_have_names_of_their_own():
    from paring.steps.prune.structure.groups import find

    names = [group.name for group in find(model(Uneven())).groups]
    assert names[:2] == ["a", "a[1]"]
    assert not prunable(model(Uneven())).groups[2:]


class Own(nn.Module):
    """Parameters and buffers of its own along the channels, a number for all of them, and a gate of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.gate, self.b = nn.Linear(6, 12), nn.Linear(6, 1), nn.Linear(12, 4)
        self.place, self.scale = nn.Parameter(torch.randn(1, 5, 12)), nn.Parameter(torch.ones(1))
        self.register_buffer("mean", torch.randn(12))

    def forward(self, x: Tensor) -> Tensor:
        y = (self.a(x) - self.mean + self.place) * self.scale
        return self.b(y * self.gate(x).sigmoid()).mean(1)


def test_tensors_that_belong_to_no_layer_are_cut_along_their_channels():
    found = prunable(model(Own(), (5, 6)))
    assert found.axes == {"place": 2, "mean": 0}
    assert [group.layers for group in found.groups] == [("a",)]
    assert found.skipped["gate"] == "it is used for all channels of another layer"


class Read(nn.Module):
    """The code around a layer reads its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)) + nn.functional.linear(x, self.a.weight).sum(-1, keepdim=True)


def test_a_weight_that_the_code_reads_stays():
    assert prunable(model(Read(), (5, 6))).skipped["a"] == "the code around it reads its weight"


class Gated(nn.Module):
    """A gated feed-forward pair behind a norm in float32, as language models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(*size, bias=False) for size in ((8, 24), (8, 24), (24, 8)))

    def forward(self, x: Tensor) -> Tensor:
        y = x.to(torch.float32)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return x + self.down(silu(self.gate(y)) * self.up(y))


def test_a_gate_and_what_it_gates_lose_the_same():
    found = prunable(model(Gated(), (5, 8)))
    assert [group.layers for group in found.groups] == [("gate", "up")]


class Rotary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.o = nn.Linear(8, 32), nn.Linear(32, 10)
        self.register_buffer("s", torch.rand(12, 8))

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).view(-1, 12, 4, 8).transpose(1, 2)
        a, b = q.chunk(2, -1)
        return self.o((q + torch.cat([-b, a], -1) * self.s).transpose(1, 2).flatten(2).mean(1))


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p, self.r, self.o = nn.Linear(8, 24), nn.GRU(24, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.r(self.p(x))[0][:, -1])


@pytest.mark.parametrize(("net", "layer", "reason"), [(Rotary, "q", "network fails"), (Gru, "p", "nn.GRU")])
def test_networks_without_a_group_are_told(net, layer, reason):
    found = prunable(model(net(), (12, 8)))
    assert not found.groups
    assert reason in found.skipped[layer]
