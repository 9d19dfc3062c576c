"""Operators between two layers on codes answer as their graph does, whether PyTorch has a kernel for them or not."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from paring.targets.torchmobile import TorchMobile
from paring.testing.between import Between, Stored, agreement, between

OPERATORS: dict[str, Between] = {
    "clamp from below": lambda y: y.clamp(min=0.1),
    "narrow": lambda y: y.narrow(2, 1, 5),
    "movedim": lambda y: y.movedim(2, 1),
    "flip": lambda y: y.flip(3),
    "roll": lambda y: y.roll(2, 3),
    "split": lambda y: torch.cat(y.split([2, 6], 1)[::-1], 1),
    "stack": lambda y: torch.stack(y.unbind(1)[::-1], 1),
    "pool without a step": lambda y: functional.max_pool2d(y, 2),
    "pool that leaps": lambda y: functional.max_pool2d(y, 1, 2),
    "mean of what is there": lambda y: functional.avg_pool2d(y, 3, 1, 1, count_include_pad=False),
    "mean with the pad": lambda y: functional.avg_pool2d(y, 3, 1, 1),
    "mean with a divisor": lambda y: functional.avg_pool2d(y, 2, divisor_override=3),
    "pad with a value": lambda y: functional.pad(y, (1, 0, 2, 1), value=0.3),
    "pad as in a mirror": lambda y: functional.pad(y, (1, 1, 1, 1), mode="reflect"),
    "pad with the edge": lambda y: functional.pad(y, (1, 1, 1, 1), mode="replicate"),
    "pad with the other side": lambda y: functional.pad(y, (1, 1, 1, 1), mode="circular"),
    "one minus": lambda y: 1 - y,
    "over a constant": lambda y: y / 3.0,
    "softplus": functional.softplus,
    "mish": functional.mish,
    "silu": functional.silu,
    "hard sigmoid": functional.hardsigmoid,
    "gelu": functional.gelu,
    "prelu": nn.PReLU(8),
    "times": Stored(lambda y, own: y * own, 8, 1, 1),
    "minus": Stored(lambda y, own: own - y, 1, 8, 1, 1),
}


def test_operators_answer_as_their_graph_does(tmp_path: Path) -> None:
    found = agreement(TorchMobile(), between(OPERATORS, tmp_path, int8=True), OPERATORS, tmp_path)
    assert {name: value for name, value in found.items() if value < 30} == {}
