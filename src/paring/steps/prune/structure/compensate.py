"""Compensation: what reads channels that go away reads instead what those that stay tell of them.

Removed inputs are regressed on the kept ones, x_R ≈ A x_K + b with A = Σ_RK Σ_KK⁻¹ and b = μ_R − A μ_K, by least
squares over all places of some calibration samples; then W_K ← W_K + W_R A, and W_R b joins the bias. He et al. 2017,
"Channel Pruning for Accelerating Very Deep Neural Networks", arXiv:1707.06168, equation 5, fits the weights of the
reading layer so; with one A for all of its kernel, as Kim et al. 2020, "Neuron Merging", arXiv:2010.13160, section 3,
it takes covariances of channels alone, which are found once and serve every cut. No labels, no training.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.model import Model
from paring.core.task import Task
from paring.steps.prune.structure.carve import Kept, carved
from paring.steps.prune.structure.elimination import Reader, order
from paring.steps.prune.structure.groups import Group, Structure
from paring.train.forward import forward

WIDEST = 4096  # inputs of a layer, above which its covariances would take more memory than the network
_RIDGE = 1e-3  # of the mean variance: dead channels have none


@dataclass
class _Moments:
    """Sums over all places of all samples, float64."""

    count: int = 0
    sum: Tensor = field(default_factory=lambda: torch.zeros(()))
    products: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, rows: Tensor) -> None:
        rows = rows.double() if len(rows) < 4096 else rows
        self.count += len(rows)
        self.sum = self.sum + rows.sum(0).double()
        self.products = self.products + (rows.T @ rows).double()

    @property
    def mean(self) -> Tensor:
        return self.sum / self.count

    @property
    def covariance(self) -> Tensor:
        return self.products / self.count - torch.outer(self.mean, self.mean)


class Compensation:
    """Cuts with compensation.

    Args:
        model: uncut.
        structure: its groups.
        task: gives calibration samples.
        samples: how many; 0 cuts without compensation.
        batch_size: in a pass.
        mend: False cuts without compensation all the same.
    """

    def __init__(
        self, model: Model, structure: Structure, task: Task, samples: int, batch_size: int, *, mend: bool = True
    ) -> None:
        self._module, self._structure, self._mends = model.module, structure, mend
        readers = {
            name: layer
            for name, side in {place for group in structure.groups for place in group.members}
            if side == "in" and name not in structure.axes
            if _linear(layer := model.module.get_submodule(name)) and structure.sizes[name, "in"] <= WIDEST
        }
        self._moments = {name: _Moments() for name in readers}
        self._norms: dict[str, str] = {}  # layer without bias -> the batch norm that its output goes to
        if not samples:
            return
        with _watched(model.module, readers, self._moments, self._norms), torch.inference_mode():
            for batch in task.batches("calibration", batch_size, limit=samples):
                forward(model, model.module, batch.inputs)

    def cut(self, units: Mapping[str, Sequence[int]]) -> nn.Module:
        """A smaller copy of the network: of each group named only these units stay."""
        kept = self._structure.kept(units)
        found = carved(self._module, kept, self._structure.axes)
        for (name, side), channels in kept.items():
            if self._mends and side == "in" and name in self._moments and self._moments[name].count:
                self._mend(found, name, channels, kept)
        return found

    def importance(self, group: Group) -> Tensor | None:
        """The group's units by elimination; None where no covariances of what reads them are known."""
        readers = []
        for (name, side), channels in group.members.items():
            moments = self._moments.get(name)
            if side == "in" and moments is not None and moments.count:
                covariance = moments.covariance
                ridge = _RIDGE * covariance.diagonal().mean().clamp_min(1e-12)
                layer, weight = self._module.get_submodule(name), self._module.get_parameter(f"{name}.weight")
                axis = 0 if isinstance(layer, nn.modules.conv._ConvNd) and layer.transposed else 1
                rows = weight.detach().double().movedim(axis, -1).reshape(-1, len(covariance)).clone()
                energy = float(((rows @ covariance) * rows).sum().clamp_min(1e-12))
                inverse = torch.linalg.inv(covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype))
                readers.append(Reader(rows, inverse, energy, channels))
        return order(readers, group.units) if readers else None

    def _mend(self, found: nn.Module, name: str, channels: Sequence[int], kept: Kept) -> None:
        moments, layer = self._moments[name], found.get_submodule(name)
        weight = layer.get_parameter("weight")
        strides = prod(layer.stride) if isinstance(layer, nn.modules.conv._ConvNd) and layer.transposed else None
        stay = torch.tensor(channels)
        gone = torch.tensor(sorted(set(range(len(moments.sum))) - set(channels)))
        covariance, mean = moments.covariance, moments.mean
        among = covariance[stay][:, stay]
        among = among + _RIDGE * among.diagonal().mean().clamp_min(1e-12) * torch.eye(len(stay), dtype=among.dtype)
        told = torch.linalg.solve(among, covariance[stay][:, gone]).T  # A
        offset = mean[gone] - told @ mean[stay]
        with torch.no_grad():
            whole = self._module.get_parameter(f"{name}.weight").detach().double()
            axis = 1 if strides is None else 0
            out = kept.get((name, "out"))
            if out is not None:
                whole = whole.index_select(1 - axis, torch.tensor(out))
            lost = whole.index_select(axis, gone).movedim(axis, -1)  # outputs, places of the kernel, inputs
            weight.add_((lost @ told).movedim(-1, axis).to(weight.dtype))
            shift = (lost @ offset).reshape(len(lost), -1).sum(1)
            self._shift(found, name, layer, shift / (strides or 1))  # a transposed kernel spreads over its stride

    def _shift(self, found: nn.Module, name: str, layer: nn.Module, shift: Tensor) -> None:
        bias = layer.bias
        if isinstance(bias, nn.Parameter):
            bias.add_(shift.to(bias.dtype))
        elif name in self._norms:
            mean = found.get_buffer(f"{self._norms[name]}.running_mean")
            if len(mean) == len(shift):
                mean.sub_(shift.to(mean.dtype))


def _linear(layer: nn.Module) -> bool:
    """Whether every output of a layer reads every input."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.modules.conv._ConvNd) and layer.groups == 1)


@contextmanager
def _watched(
    module: nn.Module, readers: Mapping[str, nn.Module], moments: Mapping[str, _Moments], norms: dict[str, str]
) -> Iterator[None]:
    """Collects what goes into each reader, and which batch norm its output goes to."""
    given: dict[int, str] = {}

    def read(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0]
        axis = 1 if isinstance(layer, nn.modules.conv._ConvNd) else -1
        moments[name].add(x.movedim(axis, -1).reshape(-1, x.shape[axis]))

    def gave(name: str, output: Tensor) -> None:
        given[id(output)] = name

    def norm(name: str, inputs: tuple[Any, ...]) -> None:
        if (reader := given.pop(id(inputs[0]), None)) is not None:
            norms[reader] = name

    handles = []
    for name, part in module.named_modules():
        if name in readers:
            handles.append(part.register_forward_pre_hook(lambda layer, inputs, name=name: read(name, layer, inputs)))
            handles.append(part.register_forward_hook(lambda _, __, output, name=name: gave(name, output)))
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            handles.append(part.register_forward_pre_hook(lambda _, inputs, name=name: norm(name, inputs)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
