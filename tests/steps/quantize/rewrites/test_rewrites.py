"""Operators written as others that mean the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paring.core.model import Source, TensorSpec
from paring.load import probe
from paring.steps.quantize import graph
from paring.steps.quantize.rewrites import RULES


class Forward(nn.Module):
    def __init__(self, run: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.matrix, self.bias = nn.Parameter(torch.randn(8, 5)), nn.Parameter(torch.randn(5))
        self.run = run

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x + 0)  # never the input itself


CASES: dict[str, tuple[tuple[int, ...], Callable[[Any, Tensor], Any]]] = {
    "chunk": ((6, 4), lambda m, x: torch.cat([x.chunk(3, 1)[2], x.chunk(3, 1)[-3]], 1)),
    "uneven chunks": ((7, 4), lambda m, x: x.chunk(3, 1)[2] + 1),
    "split": ((7, 4), lambda m, x: [part.relu() for part in x.split([2, 4, 1], dim=-2)]),
    "split in equal parts": ((7, 4), lambda m, x: [part.relu() for part in x.split(3, 1)]),
    "unbind": ((3, 4), lambda m, x: x.unbind(1)[0] * x.unbind(-2)[2]),
    "stack": ((3, 4), lambda m, x: torch.stack([x, x.relu()], -1)),
    "nothing beside something": ((3, 4), lambda m, x: torch.cat([torch.zeros(0), x[:, :0], x.relu()], 1) + 1),
    "detach": ((3, 4), lambda m, x: x.detach().relu()),
    "dropout": ((3, 4), lambda m, x: functional.dropout(x, 0.5, False).relu()),
    "narrow": ((8, 4), lambda m, x: x.narrow(1, -5, 3).relu()),
    "movedim": ((3, 4, 5), lambda m, x: x.movedim((1, 3), (-1, 1)).relu()),
    "unflatten": ((6, 4), lambda m, x: x.unflatten(1, (2, 3)).relu()),
    "roll": ((6, 4), lambda m, x: x.roll((2, -1), (1, 2)).relu()),
    "roll of nothing": ((6, 4), lambda m, x: x.roll(6, 1).relu()),
    "expand": ((3, 1, 1), lambda m, x: x.expand(-1, 3, 4, 5).relu()),
    "repeat": ((1, 3, 4), lambda m, x: x.repeat(1, 2, 3, 1).relu()),
    "repeat along a new axis": ((3, 4), lambda m, x: x.repeat(1, 1, 1, 2).transpose(0, 1)),
    "pixel shuffle": ((8, 3, 4), lambda m, x: functional.pixel_shuffle(x, 2).relu()),
    "pixel unshuffle": ((3, 4, 6), lambda m, x: functional.pixel_unshuffle(x, 2).relu()),
    "channel shuffle": ((6, 3, 4), lambda m, x: functional.channel_shuffle(x, 3).relu()),
    "growing a line": ((3, 4), lambda m, x: functional.interpolate(x, scale_factor=2).relu()),
    "largest of a line": ((3, 9), lambda m, x: functional.max_pool1d(x, 3, 2, 1)),
    "largest of a line, far apart": ((3, 9), lambda m, x: functional.max_pool1d(x, 2, 2, 0, 3)),
    "mean of a line": ((3, 9), lambda m, x: functional.avg_pool1d(x, 3, 2, 1)),
    "mean of a whole line": ((3, 9), lambda m, x: functional.adaptive_avg_pool1d(x, 1)),
    "means of parts of a line": ((3, 9), lambda m, x: functional.adaptive_avg_pool1d(x, 3)),
    "means of parts": ((3, 4, 6), lambda m, x: functional.adaptive_avg_pool2d(x, (2, 3))),
    "largest of all": ((3, 4, 6), lambda m, x: functional.adaptive_max_pool2d(x, 1)),
    "largest of parts": ((3, 4, 6), lambda m, x: functional.adaptive_max_pool2d(x, (2, 1))),
    "largest of a row": ((3, 4), lambda m, x: x.max(1)[0] + x.min(1).values),
    "a line padded to its length": ((3, 9), lambda m, x: functional.conv1d(x, m.matrix[None, :3, :3], padding="same")),
    "silu": ((3, 4), lambda m, x: functional.silu(x)),
    "silu in place": ((3, 4), lambda m, x: functional.silu(x, inplace=True)),
    "hard sigmoid": ((3, 4), lambda m, x: functional.hardsigmoid(4 * x)),
    "gated": ((6, 4), lambda m, x: functional.glu(x, 1)),
    "a slope for each channel": ((5, 4), lambda m, x: functional.prelu(x, m.bias)),
    "a slope": ((5, 4), lambda m, x: functional.prelu(x, m.bias[:1])),
    "clamp": ((3, 4), lambda m, x: x.clamp(min=0) + (4 * x).clamp(0, 6)),
    "square": ((3, 4), lambda m, x: x**2 + x.square()),
    "a number less": ((3, 4), lambda m, x: 1 - x),
    "a part": ((3, 4), lambda m, x: x / 7),
    "negative": ((3, 4), lambda m, x: -x),
    "a product with a matrix": ((3, 8), lambda m, x: x @ m.matrix),
    "a product and a sum": ((8,), lambda m, x: torch.addmm(m.bias, x, m.matrix)),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "run"), CASES.values(), ids=CASES.keys())
def test_the_same_comes_out_and_the_operator_is_gone(shape: tuple[int, ...], run: Callable[[Any, Tensor], Any]) -> None:
    torch.manual_seed(0)
    module = Forward(run)
    found = graph.capture(probe.model(module, Source("test"), (TensorSpec.of("x", shape),)))
    for batch in (1, 3):
        x = torch.randn(batch, *shape)
        wanted, given = module(x), found(x)
        wanted, given = (one if isinstance(one, list | tuple) else [one] for one in (wanted, given))
        for one, other in zip(wanted, given, strict=True):
            torch.testing.assert_close(other, one)
    calls = [node for node in found.graph.nodes if node.op == "call_function"]
    assert not {node.target for node in calls} & (RULES.keys() - {torch.ops.aten.cat.default})
    assert not [node for node in calls if isinstance(node.meta.get("val"), Tensor) and not node.meta["val"].numel()]


def test_a_matrix_that_something_else_reads_stays() -> None:
    module = Forward(lambda m, x: (x @ m.matrix) @ m.matrix.sum(0)[:, None])
    found = graph.capture(probe.model(module, Source("test"), (TensorSpec.of("x", (8,)),)))
    x = torch.randn(2, 8)
    torch.testing.assert_close(found(x), module(x))
    assert dict(found.named_parameters())["matrix"].shape == (8, 5)


def test_the_models_own_matrix_is_never_written() -> None:
    module = Forward(lambda m, x: torch.addmm(m.bias, x, m.matrix))
    found = graph.capture(probe.model(module, Source("test"), (TensorSpec.of("x", (8,)),)))
    assert dict(found.named_parameters())["matrix"].shape == (5, 8)
    assert module.matrix.shape == (8, 5)
