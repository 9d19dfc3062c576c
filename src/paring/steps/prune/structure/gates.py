"""How much each head or feed-forward unit matters: a gate of value 1 behind each, and what the loss says of it.

Heads: Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv:1905.10650, equation 2: I = E |∂L/∂ξ|.
Units: Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv:1906.10771, section 3.1: the
squared gradient of the gate, I = E (∂L/∂ξ)². Both are first-order Taylor expansions of what removal does to the loss.
"""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Context
from paring.steps.prune.structure.attention import Units
from paring.train.forward import forward
from paring.train.loop import derived_seed

_BATCH = 32
Importance = Literal["taylor", "magnitude", "random"]


def scores(
    model: Model, found: Sequence[Units], importance: Importance, samples: int, context: Context, where: str
) -> dict[str, Tensor]:
    """Name of the units -> how much each matters, float64, shape (count,), the squares of each layer adding up to 1.

    Raises:
        ParingError: the calibration split is empty, or the loss or its gradient is not finite.
    """
    match importance:
        case "taylor":
            raw = _taylor(model, found, samples, context, where)
        case "magnitude":
            raw = {one.name: _magnitude(model.module, one) for one in found}
        case "random":
            chance = torch.Generator().manual_seed(derived_seed(context.seed, where))
            raw = {one.name: torch.rand(one.count, generator=chance, dtype=torch.float64) for one in found}
    # Without this (Michel et al. 2019, section 4.1) the scales of the layers, not their heads, would decide among them.
    return {name: score / score.norm().clamp(min=1e-30) for name, score in raw.items()}


def _magnitude(module: nn.Module, units: Units) -> Tensor:
    """The norm of all weights that go with each unit."""
    total = torch.zeros(units.count, dtype=torch.float64)
    for giver in units.givers:
        weight = module.get_parameter(f"{giver}.weight").detach().double()
        total += weight.reshape(units.parts, units.count, -1).square().sum((0, 2))
    taker = module.get_submodule(units.taker)
    weight = module.get_parameter(f"{units.taker}.weight").detach().double()
    groups = int(getattr(taker, "groups", 1))
    inputs = torch.cat([rows.square().flatten(2).sum((0, 2)) for rows in weight.unsqueeze(-1).chunk(groups)])
    return (total + inputs.reshape(units.count, -1).sum(1)).sqrt()


def _taylor(model: Model, found: Sequence[Units], samples: int, context: Context, where: str) -> dict[str, Tensor]:
    module = copy.deepcopy(model.module).requires_grad_(False)
    axes = _batches(model, module, found, context)
    gates = {one.name: _Gate(one, axes.get(one.taker, 0)) for one in found}
    for one in found:
        module.get_submodule(one.taker).register_forward_pre_hook(gates[one.name])
    total = {one.name: torch.zeros(one.count, dtype=torch.float64) for one in found}
    seen = 0
    held = min(samples, context.task.size("calibration"))
    if not held:
        raise ParingError("the calibration split is empty", where, "importance: magnitude needs no data")
    with context.progress.bar("importance", held) as advance:
        for batch in context.task.batches("calibration", _BATCH, limit=held):
            count = len(batch.targets)
            for gate in gates.values():
                gate.open(count)
            with torch.enable_grad():
                # the sum over samples: then the gradient of a sample's gate is that of its own loss
                loss = context.task.loss(forward(model, module, batch.inputs), batch.targets) * count
                slopes = torch.autograd.grad(loss, [gate.values for gate in gates.values()], allow_unused=True)
            for one, slope in zip(found, slopes, strict=True):
                if slope is None:  # the loss does not depend on it
                    continue
                total[one.name] += (slope.abs() if one.kind == "heads" else slope.square()).double().sum(0)
            seen += count
            advance(count, "")
    if not all(bool(torch.isfinite(score).all()) for score in total.values()):
        raise ParingError(
            "the gradient of the loss is not finite on calibration samples",
            where,
            "look for NaN in the calibration data and in the weights (paring inspect)",
        )
    return {name: score / seen for name, score in total.items()}


def _batches(model: Model, module: nn.Module, found: Sequence[Units], context: Context) -> dict[str, int]:
    """Taker -> the axis of what it takes that grows with the batch."""
    shapes: dict[str, list[torch.Size]] = {one.taker: [] for one in found}
    handles = [
        module.get_submodule(name).register_forward_pre_hook(
            lambda _, given, name=name: shapes[name].append(given[0].shape)
        )
        for name in shapes
    ]
    batch = next(iter(context.task.batches("calibration", 1, limit=1)))
    for times in (1, 2):
        forward(model, module, {name: torch.cat([one[:1]] * times) for name, one in batch.inputs.items()})
    for handle in handles:
        handle.remove()
    return {
        name: next((axis for axis, size in enumerate(seen[0]) if seen[len(seen) // 2][axis] == 2 * size), 0)
        for name, seen in shapes.items()
        if seen and seen[0] != seen[len(seen) // 2]
    }


class _Gate:
    """Multiplies each sample's units by a value of their own, 1, in front of the layer that takes them.

    Args:
        units: of which there is a value each.
        batch: the axis of the samples; of several windows of a sample each lies behind the other.
    """

    def __init__(self, units: Units, batch: int) -> None:
        self._units, self._batch = units, batch
        self.values = torch.ones(0)

    def open(self, batch: int) -> None:
        """Fresh values, float32, shape (batch, units)."""
        self.values = torch.ones(batch, self._units.count, requires_grad=True)

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The inputs of the layer, gated."""
        (given,) = inputs
        axis = 1 if isinstance(layer, nn.Conv1d) else given.ndim - 1
        features = given.movedim((self._batch, axis), (0, -1))
        parts = features.shape[0] // len(self.values)  # windows of an image lie on the axis of the batch
        gate = self.values.repeat_interleave(parts, 0).repeat_interleave(self._units.size, 1)
        gated = features * gate.reshape(len(gate), *[1] * (given.ndim - 2), -1)
        return (gated.movedim((0, -1), (self._batch, axis)),)
