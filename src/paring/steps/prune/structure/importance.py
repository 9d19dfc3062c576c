"""How much a channel matters: a score for each unit of each group, comparable within a group.

Scores of the layers of a group are divided by their mean before they are added up, so that none outweighs the others;
a unit's score is the sum over its channels (Fang et al. 2023, arXiv:2301.12900, section 3.3, sums so over a group).
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.model import Model
from paring.core.task import Task
from paring.steps.prune.structure.carve import Side, one_input_each
from paring.steps.prune.structure.groups import WEIGHTED, Group, Structure
from paring.train.forward import forward
from paring.train.loop import derived_seed

Scores = Mapping[str, Tensor]  # group -> float64, shape (units,)


def scores(
    kind: str, model: Model, structure: Structure, task: Task, samples: int, seed: int, batch_size: int
) -> tuple[Scores, Mapping[str, str]]:
    """Scores of every group; and layer -> why it has none.

    Args:
        kind: `l1` (sum of absolute weights; Li et al. 2017, arXiv:1608.08710, section 3.1), `l2`, `bn_scale` (absolute
            scale of batch norm; Liu et al. 2017, arXiv:1708.06519, section 3), `fpgm` (distance to the other filters;
            He et al. 2019, arXiv:1811.00250, equation 4), `lamp` (squared norm over that of all that are no smaller;
            Lee et al. 2021, arXiv:2010.07611, equation 4, of channels instead of weights), `taylor` (`taylor`),
            `random`.
        model: whose channels.
        structure: its groups.
        task: gives calibration samples where gradients are needed.
        samples: how many.
        seed: of `random`.
        batch_size: samples in a pass.
    """
    if kind == "taylor":
        return taylor(model, structure, task, samples, batch_size), {}
    chance = torch.Generator().manual_seed(derived_seed(seed, "random importance"))
    found: dict[str, Tensor] = {}
    missing: dict[str, str] = {}
    for group in structure.groups:
        if kind == "random":
            found[group.name] = torch.rand(group.units, generator=chance, dtype=torch.float64)
            continue
        rows = (_scales if kind == "bn_scale" else _rows)(model.module, group, structure)
        parts = [_per_unit(group, place, _OF_ROWS[kind](matrix.double())) for place, matrix in rows]
        if not parts:
            missing |= dict.fromkeys(group.layers, "it has no batch norm to judge its channels by")
            continue
        total = torch.stack([part / part.mean().clamp_min(1e-300) for part in parts]).mean(0)
        found[group.name] = _lamp(total) if kind == "lamp" else total
    return found, missing


def taylor(model: Model, structure: Structure, task: Task, samples: int, batch_size: int) -> Scores:
    """(∂L/∂g)², averaged over samples, for a gate g = 1 on all that reads the unit's channels.

    First order in what its removal does to the loss: Molchanov et al. 2019, arXiv:1906.10771, equation 8, in its form
    with gates (section 3.2). Where a gate acts on an input x of a layer, ∂L/∂g = Σ x · ∂L/∂x, for each sample alone.
    """
    module = copy.deepcopy(model.module).requires_grad_(False)
    readers = {
        name: layer
        for name, side in {place for group in structure.groups for place in group.members}
        if side == "in" and name not in structure.axes
        if isinstance(layer := module.get_submodule(name), WEIGHTED) and not _passes(layer)
    }
    inputs: dict[str, list[Tensor]] = {name: [] for name in readers}
    for name, layer in readers.items():
        layer.register_forward_pre_hook(partial(_tapped, inputs[name]))
    total = {group.name: torch.zeros(group.units, dtype=torch.float64) for group in structure.groups}
    seen = 0
    for batch in task.batches("calibration", batch_size, limit=samples):
        with torch.enable_grad():
            loss = task.loss(forward(model, module, batch.inputs), batch.targets) * len(batch.targets)
        every = [tensor for tensors in inputs.values() for tensor in tensors]
        slopes = dict(zip(map(id, every), torch.autograd.grad(loss, every, allow_unused=True), strict=True))
        gates = {name: _gates(tensors, slopes, readers[name]) for name, tensors in inputs.items()}
        for group in structure.groups:
            derivative = torch.zeros(len(batch.targets), group.units, dtype=torch.float64)
            for (name, side), channels in group.members.items():
                if side == "in" and (gate := gates.get(name)) is not None:
                    derivative += gate[:, torch.tensor(channels)].sum(-1)
            total[group.name] += (derivative**2).sum(0)
        for tensors in inputs.values():
            tensors.clear()
        seen += len(batch.targets)
    return {name: value / max(seen, 1) for name, value in total.items()}


def _passes(layer: nn.Module) -> bool:
    """Whether each input channel has an output channel of its own, which others read."""
    return isinstance(layer, nn.modules.conv._ConvNd) and one_input_each(layer)


def _tapped(seen: list[Tensor], _: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Gives the layer an input of its own, so that its gradient is of what goes through this layer alone."""
    own = given[0] * 1.0
    seen.append(own if own.requires_grad else own.detach().requires_grad_())
    return (seen[-1], *given[1:])


def _gates(tensors: Iterable[Tensor], slopes: Mapping[int, Tensor | None], layer: nn.Module) -> Tensor | None:
    """Sample and channel -> derivative of the loss by a gate on that channel."""
    total: Tensor | None = None
    for x in tensors:
        slope = slopes.get(id(x))
        if slope is None:
            continue
        product = (x.detach() * slope).double()
        axis = 1 if isinstance(layer, nn.modules.conv._ConvNd) else -1
        product = product.movedim(axis, -1).reshape(len(x), -1, product.shape[axis]).sum(1)
        total = product if total is None else total + product
    return total


def _per_unit(group: Group, place: tuple[str, Side], per_channel: Tensor) -> Tensor:
    return per_channel[torch.tensor(group.members[place])].sum(-1)


def _lamp(score: Tensor) -> Tensor:
    squares, order = (score**2).sort(descending=True)
    found = torch.empty_like(score)
    found[order] = squares / squares.cumsum(0).clamp_min(1e-300)
    return found


_OF_ROWS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda rows: rows.abs().sum(1),
    "l2": lambda rows: rows.norm(dim=1),
    "lamp": lambda rows: rows.norm(dim=1),
    "fpgm": lambda rows: torch.cdist(rows, rows).sum(1),
    "bn_scale": lambda rows: rows.abs().sum(1),
}


def _scales(module: nn.Module, group: Group, structure: Structure) -> Iterable[tuple[tuple[str, Side], Tensor]]:
    for place in group.members:
        if place[0] not in structure.axes:
            layer = module.get_submodule(place[0])
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.affine:
                yield place, layer.get_parameter("weight").detach()[:, None]


def _rows(module: nn.Module, group: Group, structure: Structure) -> Iterable[tuple[tuple[str, Side], Tensor]]:
    """Of each layer that makes or reads the channels its weight, a row for each channel."""
    for place in group.members:
        name, side = place
        if name in structure.axes:
            continue
        layer = module.get_submodule(name)
        if isinstance(layer, nn.LSTM):
            weight = layer.get_parameter("weight_ih_l0").detach()
            yield place, weight.T if side == "in" else torch.cat(weight.chunk(4), 1)
        elif isinstance(layer, nn.Linear):
            yield place, layer.weight.detach() if side == "out" else layer.weight.detach().T
        elif isinstance(layer, nn.modules.conv._ConvNd) and not (side == "in" and one_input_each(layer)):
            weight = layer.weight.detach()
            if (side == "out") is not layer.transposed:
                yield place, weight.flatten(1)
            else:  # the second dimension runs over the channels of one group only
                apart = weight.reshape(layer.groups, len(weight) // layer.groups, weight.shape[1], -1)
                yield place, apart.transpose(1, 2).flatten(0, 1).flatten(1)
