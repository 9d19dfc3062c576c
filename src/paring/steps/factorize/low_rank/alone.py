"""Whether factors run slower than their layer on the target, each of both alone."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.core.step import Deployed
from paring.steps.factorize.low_rank.candidates import Candidate
from paring.steps.factorize.low_rank.split import Ranks, told

_NOISE = 1.03  # of two medians
_IMAGE = 4  # dimensions


class Alone:
    """Measures; layers that are alike once.

    Args:
        deployed: as in a step's context; None measures nothing.
    """

    def __init__(self, deployed: Callable[[Model], Deployed] | None) -> None:
        self._deployed = deployed
        self._known: dict[Any, float | None] = {}

    def slower(self, layer: Candidate, ranks: Ranks, factors: nn.Module) -> str:
        """How much slower factors run than their layer; empty where they do not, or where it cannot be measured.

        A layer that runs several times is measured at its first call.
        """
        if self._deployed is None or layer.looks_up:
            return ""
        shape = layer.layer.shapes[0]
        alike = (type(layer.module), *(str(one) for one in _options(layer.module).items()), shape)
        before = self._latency(alike, layer.module, shape)
        after = self._latency((*alike, ranks), factors, shape)
        if before is None or after is None or after <= _NOISE * before:
            return ""
        return f"its factors of rank {told(ranks)} run slower on the target: {after:.3g} ms, itself {before:.3g} ms"

    def _latency(self, alike: Any, module: nn.Module, shape: tuple[int, ...]) -> float | None:
        if alike not in self._known:
            self._known[alike] = self._measured(module, shape)
        return self._known[alike]

    def _measured(self, module: nn.Module, shape: tuple[int, ...]) -> float | None:
        assert self._deployed is not None  # noqa: S101 - `slower` asks only then
        with torch.no_grad():
            answer = module(torch.zeros(shape))
        ends = [_end(name, tuple(one)) for name, one in (("input", shape), ("output", answer.shape))]
        try:
            return self._deployed(Model(module, Source("layer"), (ends[0],), (ends[1],))).latency_ms
        except ParingError:  # the target takes it in its network, but not alone
            return None


def _end(name: str, shape: tuple[int, ...]) -> TensorSpec:
    batch: int | str = "batch" if shape[0] == 1 else shape[0]
    layout = "NCHW" if len(shape) == _IMAGE else ""
    return TensorSpec(name, (batch, *shape[1:]), layout=layout, range=(-1.0, 1.0))


def _options(layer: nn.Module) -> Mapping[str, Any]:
    """What a layer was made with."""
    return {name: value for name, value in vars(layer).items() if not name.startswith("_")}
