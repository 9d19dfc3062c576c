"""What random networks are made of: layers, joins and moves, each with options that fit any shape.

Options are small whole numbers and booleans, so that they shrink and can be written to a file; a maker takes them
modulo what the shape allows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everyone calls it)

Options = Mapping[str, Any]
Shapes = Sequence[torch.Size]
_FEW, _BOOL = st.integers(0, 3), st.booleans()


@dataclass(frozen=True)
class Kind:
    """One kind of operator.

    Attributes:
        make: (shapes of the inputs, options) -> a module of these inputs.
        ranks: of the values that it takes, batch included: 4 images, 3 sequences, 2 vectors.
        inputs: how many values it takes.
        options: name -> what is drawn for it.
        shared: whether one module may be called again on a value of like channels.
    """

    make: Callable[[Shapes, Options], nn.Module]
    ranks: frozenset[int]
    inputs: int = 1
    options: Mapping[str, st.SearchStrategy[Any]] | None = None
    shared: bool = False


class Call(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(*given)


class WithStored(nn.Module):
    """A function of a value and a stored tensor."""

    def __init__(self, stored: Tensor, function: Callable[[Tensor, Tensor], Tensor], *, parameter: bool) -> None:
        super().__init__()
        if parameter:
            self.stored = nn.Parameter(stored, requires_grad=False)
        else:
            self.register_buffer("stored", stored)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(x, self.stored)


class Tied(nn.Module):
    """Two linear layers with one weight."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(features, features), nn.Linear(features, features)
        self.other.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        found: Tensor = self.other(self.one(x).relu())
        return found


class Recurrent(nn.Module):
    """An LSTM or a GRU, its sequence or its last answer."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], features: int, *, both: bool, last: bool) -> None:
        super().__init__()
        self.cells, self.last = kind(features, 4, batch_first=True, bidirectional=both), last

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, features) -> (batch, tokens, 4 or 8), or without the tokens."""
        found: Tensor = self.cells(x)[0]
        return found[:, -1] if self.last else found


class Attention(nn.Module):
    """Self-attention of two heads, its three matrices one layer."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(features, 24), nn.Linear(8, features)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        shares = (q @ k.transpose(-1, -2) * 0.5).softmax(-1)
        found: Tensor = x + self.out((shares @ v).transpose(1, 2).flatten(2))
        return found


class Normed(nn.Module):
    """A convolution that several norms follow, or whose output something else reads, too."""

    def __init__(self, channels: int, norms: int, *, beside: bool, bias: bool) -> None:
        super().__init__()
        self.c = nn.Conv2d(channels, 4, 3, padding=1, bias=bias)
        self.norms = nn.Sequential(*(nn.BatchNorm2d(4) for _ in range(norms)))
        self.beside = beside

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, 4, height, width)."""
        found = self.c(x)
        normed: Tensor = self.norms(found)
        return normed + found.relu() if self.beside else normed


class Pyramid(nn.Module):
    """One convolution on an image and on its half, with one norm for both or one for each."""

    def __init__(self, channels: int, norms: int, *, bias: bool) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, 4, 3, padding=1, bias=bias)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(norms))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, 4, height, width)."""
        whole: Tensor = self.norms[0](self.head(x))
        half: Tensor = self.norms[-1](self.head(F.avg_pool2d(x, 2, ceil_mode=True)))
        return whole + half.mean((2, 3), keepdim=True)


def _divisor(of: int, choice: int) -> int:
    found = [one for one in range(1, of + 1) if of % one == 0]
    return found[choice % len(found)]


def _conv(shapes: Shapes, o: Options) -> nn.Module:
    channels = shapes[0][1]
    groups = channels if o["depthwise"] else _divisor(channels, o["groups"])
    out = groups * (1 + o["width"] % 2) if groups > 1 else 4 + 2 * o["width"]
    kernel = min(1 + 2 * (o["kernel"] % 2), *shapes[0][2:])
    return nn.Conv2d(channels, out, kernel, 1 + o["stride"] % 2, (kernel // 2) * o["pad"], 1, groups, bias=o["bias"])


def _transposed(shapes: Shapes, o: Options) -> nn.Module:
    channels, stride = shapes[0][1], 1 + o["stride"] % 2
    kernel = 2 + o["kernel"] % 3
    groups = _divisor(channels, o["groups"])
    padding = min(o["pad"], kernel // 2)
    return nn.ConvTranspose2d(
        channels, 2 * groups, kernel, stride, padding, min(o["more"] % 2, stride - 1), groups, bias=o["bias"]
    )


def _stored(shapes: Shapes, o: Options) -> nn.Module:
    shape = list(shapes[0][1:])
    if o["scalar"]:
        shape = [shape[0], *[1] * (len(shape) - 1)] if len(shape) == 3 else [1] * (len(shape) - 1) + shape[-1:]
    drawn = torch.rand(*shape) + 0.5
    way = o["way"] % 4
    if way == 1:  # a view of something larger
        drawn = (torch.rand(*(2 * one for one in shape)) + 0.5)[tuple(slice(None, None, 2) for _ in shape)]
    if way == 2:
        drawn = drawn[..., :1].expand(*shape)
    if way == 3 and len(shape) > 1:
        drawn = drawn.transpose(-1, -2).contiguous().transpose(-1, -2)
    functions: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda x, k: x * k, lambda x, k: x + k, lambda x, k: x - k, lambda x, k: k - x,
        lambda x, k: k / (x.abs() + 1), lambda x, k: x / k, torch.maximum,
    ]  # fmt: skip
    return WithStored(drawn, functions[o["what"] % len(functions)], parameter=o["parameter"])


def _written(shapes: Shapes, o: Options) -> nn.Module:
    half = max(shapes[0][1] // 2, 1)

    def overwritten(x: Tensor) -> Tensor:
        z = x * 1.5
        z[:, :half] = z[:, -half:] * 2
        return z

    def added(x: Tensor) -> Tensor:
        z = x * 1.5
        z[:, half:] += 1.0
        return z

    def filled(x: Tensor) -> Tensor:
        z = x.clone()
        z[..., -1] = 0.25
        return z

    return Call((overwritten, added, filled)[o["way"] % 3])


_POINTWISE: list[Callable[[Tensor], Tensor]] = [
    F.relu, F.relu6, F.silu, F.hardswish, torch.sigmoid, torch.tanh, F.gelu, F.leaky_relu, F.elu, F.softplus, F.mish,
    F.hardsigmoid, lambda x: x.clamp(min=0.1), lambda x: x.clamp(-0.5, 0.8), lambda x: x.clamp(max=0.7), torch.abs,
    lambda x: 1 - x, lambda x: 2 - x.relu(), lambda x: 1 / (x.abs() + 1), lambda x: x * x, torch.neg,
    lambda x: (x.abs() + 0.1).sqrt(), lambda x: x * 200, lambda x: x / 100, lambda x: x.clamp(-4, 4).exp(),
    lambda x: F.hardtanh(x, -1.0, 1.0), lambda x: x + 3, lambda x: x - 0.5, F.logsigmoid, F.softsign, F.selu,
]  # fmt: skip


def _pointwise(_: Shapes, o: Options) -> nn.Module:
    return Call(_POINTWISE[o["what"] % len(_POINTWISE)])


def _moved(shapes: Shapes, o: Options) -> nn.Module:
    rank, axis = len(shapes[0]), 1 + o["axis"] % (len(shapes[0]) - 1)
    size = shapes[0][axis]
    half = max(size // 2, 1)
    moves: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.narrow(axis, size - half, half),
        lambda x: x.chunk(2, axis)[-1],
        lambda x: torch.split(x, [half, size - half] if size > half else [half], axis)[0],
        lambda x: x.flip(axis),
        lambda x: x.roll(1, axis),
        lambda x: x.index_select(axis, torch.arange(0, size, 2)),
        lambda x: x[(slice(None),) * axis + (slice(None, None, 2),)],
        lambda x: torch.cat([x, x.flip(axis)], axis),
        lambda x: torch.stack([x, x * 0.5], axis).sum(axis),
        lambda x: torch.stack(x.unbind(axis)[::-1], axis),
        lambda x: x.transpose(1, rank - 1),
        lambda x: x.movedim(1, -1),
        lambda x: x.movedim(-1, 1).movedim(1, -1),
        lambda x: x.unsqueeze(axis).squeeze(axis),
        lambda x: x.reshape(len(x), *reversed(x.shape[1:])),
        lambda x: x.repeat(1, *[1 + (i == axis) for i in range(1, rank)]),
        lambda x: F.pad(x, (1, 0)),
        lambda x: x.amax(axis, keepdim=True) + x,
        lambda x: x.mean(axis, keepdim=True) - x,
        lambda x: x.softmax(axis),
        lambda x: x - x.amin(axis, keepdim=True),
        lambda x: F.normalize(x, dim=axis),
        lambda x: x.cumsum(axis) * 0.2,
        lambda x: torch.where(x > 0, x, x * 0.1),
    ]
    return Call(moves[o["what"] % len(moves)])


def _shuffled(shapes: Shapes, o: Options) -> nn.Module:
    channels = shapes[0][1]
    groups = _divisor(channels, 1 + o["groups"])
    return Call(lambda x: x.unflatten(1, (groups, channels // groups)).transpose(1, 2).flatten(1, 2))


def _resized(shapes: Shapes, o: Options) -> nn.Module:
    if o["way"] % 4 == 3 and shapes[0][1] % 4 == 0:
        return nn.PixelShuffle(2)
    mode = ("nearest", "bilinear", "bilinear")[o["way"] % 3]
    corners = None if mode == "nearest" else o["way"] % 3 == 2
    return nn.Upsample(scale_factor=2, mode=mode, align_corners=corners)


def _pooled(_: Shapes, o: Options) -> nn.Module:
    pools: list[Callable[[Tensor], Tensor]] = [
        lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2), lambda x: F.max_pool2d(x, 3, 1, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1), lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: F.adaptive_max_pool2d(x, 1), lambda x: x.mean((2, 3), True),
        lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    ]  # fmt: skip
    return Call(pools[o["what"] % len(pools)])


def _flat(shapes: Shapes, o: Options) -> nn.Module:
    ways: list[Callable[[Tensor], Tensor]]
    if len(shapes[0]) == 4:
        ways = [
            lambda x: x.mean((2, 3)), lambda x: x.flatten(1), lambda x: x.flatten(2).transpose(1, 2),
            lambda x: x.amax((2, 3)), lambda x: x[:, :, 0], lambda x: x.flatten(2),
        ]  # fmt: skip
    else:
        ways = [lambda x: x.mean(1), lambda x: x[:, 0], lambda x: x.flatten(1), lambda x: x.amax(1)]
    return Call(ways[o["way"] % len(ways)])


def _joined(_: Shapes, o: Options) -> nn.Module:
    if o["what"] % 6 == 5:
        return Call(lambda x, y: torch.cat([x * 50, y.sigmoid()], 1))
    joins: list[Callable[[Tensor, Tensor], Tensor]] = [
        torch.add, torch.mul, torch.sub, torch.maximum, lambda x, y: torch.cat([x, y], 1)
    ]  # fmt: skip
    return Call(joins[o["what"] % 5])


def _recurrent(shapes: Shapes, o: Options) -> nn.Module:
    return Recurrent((nn.LSTM, nn.GRU)[o["kind"] % 2], shapes[0][2], both=o["both"], last=o["last"])


IMAGES, SEQUENCES, VECTORS, ANY = frozenset({4}), frozenset({3}), frozenset({2}), frozenset({2, 3, 4})
_WAY = {"way": st.integers(0, 11)}

KINDS: dict[str, Kind] = {
    "conv": Kind(
        _conv, IMAGES, shared=True,
        options={
            "width": _FEW, "kernel": _FEW, "stride": _FEW, "pad": st.integers(0, 1), "groups": _FEW,
            "depthwise": _BOOL, "bias": _BOOL,
        },
    ),
    "batch_norm": Kind(lambda s, o: nn.BatchNorm2d(s[0][1]), IMAGES, shared=True),
    "batch_norm_1d": Kind(lambda s, o: nn.BatchNorm1d(s[0][1]), VECTORS, shared=True),
    "linear": Kind(
        lambda s, o: nn.Linear(s[0][-1], 3 + 2 * o["width"], bias=o["bias"]), ANY, shared=True,
        options={"width": _FEW, "bias": _BOOL},
    ),
    "pointwise": Kind(_pointwise, ANY, options={"what": st.integers(0, len(_POINTWISE) - 1)}),
    "join": Kind(_joined, ANY, inputs=2, options={"what": st.integers(0, 5)}),
    "move": Kind(_moved, ANY, options={"what": st.integers(0, 23), "axis": _FEW}),
    "stored": Kind(
        _stored, ANY, options={"what": st.integers(0, 6), "way": _FEW, "scalar": _BOOL, "parameter": _BOOL}
    ),
    "pool": Kind(_pooled, IMAGES, options={"what": st.integers(0, 8)}),
    "resize": Kind(_resized, IMAGES, options=_WAY),
    "flat": Kind(_flat, IMAGES | SEQUENCES, options=_WAY),
    "shuffle": Kind(_shuffled, IMAGES, options={"groups": _FEW}),
    "write": Kind(_written, ANY, options=_WAY),
    "prelu": Kind(lambda s, o: nn.PReLU(s[0][1] if o["each"] else 1), IMAGES, options={"each": _BOOL}),
    "transposed": Kind(
        _transposed, IMAGES,
        options={"kernel": _FEW, "stride": _FEW, "pad": st.integers(0, 2), "more": _FEW, "groups": _FEW, "bias": _BOOL},
    ),
    "layer_norm": Kind(lambda s, o: nn.LayerNorm(s[0][-1]), ANY),
    "group_norm": Kind(
        lambda s, o: nn.GroupNorm(_divisor(s[0][1], o["groups"]), s[0][1]), IMAGES, options={"groups": _FEW}
    ),
    "normed": Kind(
        lambda s, o: Normed(s[0][1], 1 + o["norms"] % 2, beside=o["beside"], bias=o["bias"]), IMAGES,
        options={"norms": _FEW, "beside": _BOOL, "bias": _BOOL},
    ),
    "pyramid": Kind(
        lambda s, o: Pyramid(s[0][1], 1 + o["norms"] % 2, bias=o["bias"]), IMAGES,
        options={"norms": _FEW, "bias": _BOOL},
    ),
    "tied": Kind(lambda s, o: Tied(s[0][-1]), SEQUENCES | VECTORS),
    "attention": Kind(lambda s, o: Attention(s[0][-1]), SEQUENCES),
    "recurrent": Kind(_recurrent, SEQUENCES, options={"kind": _FEW, "both": _BOOL, "last": _BOOL}),
    "conv1d": Kind(
        lambda s, o: nn.Conv1d(s[0][1], 4, 1 + 2 * (o["kernel"] % 2), padding=o["kernel"] % 2), SEQUENCES,
        options={"kernel": _FEW},
    ),
}  # fmt: skip
