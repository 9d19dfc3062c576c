"""Importance by elimination: the channel goes first that what reads it can best do without, given those that stay.

With x the inputs of a reading layer, Σ their covariance, P = Σ⁻¹ and W its weights, compensated removal of input i
costs ‖W x − W' x‖² = ‖W_i‖² / P_ii; then W ← W − W_i P_i / P_ii and P ← P − P_i P_iᵀ / P_ii, and the next one is
chosen: the Optimal Brain Surgeon (Hassibi and Stork 1993, equation 5) for whole channels, as Kurtic et al. 2023,
"ZipLM", arXiv:2302.04089, section 3.1, applies it to structures. Of several readers the costs are added, each as a
share of the energy of its outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Reader:
    """One layer that reads the channels of a group.

    Attributes:
        weight: float64, shape (rows, inputs): a row for each output and place of the kernel.
        inverse: of the inputs' covariance, float64, shape (inputs, inputs).
        energy: of the outputs, tr(W Σ Wᵀ).
        channels: unit -> its inputs here.
    """

    weight: Tensor
    inverse: Tensor
    energy: float
    channels: Sequence[Sequence[int]]

    def costs(self, units: Sequence[int]) -> Tensor:
        """What the removal of each of these units alone would cost."""
        single = self.weight.square().sum(0) / self.inverse.diagonal().clamp_min(1e-12)
        return single[torch.tensor([self.channels[unit] for unit in units])].sum(1) / self.energy

    def remove(self, unit: int) -> None:
        """Takes a unit out, and makes up for it."""
        for channel in self.channels[unit]:
            row = self.inverse[channel].clone()
            pivot = row[channel].clamp_min(1e-12)
            self.weight -= torch.outer(self.weight[:, channel].clone(), row / pivot)
            self.inverse -= torch.outer(row, row / pivot)
            self.inverse[channel, channel] = 1.0  # gone: no weight is left on it


def order(readers: Sequence[Reader], units: int) -> Tensor:
    """Scores of the units: what is lost once it and all that went before it are gone, as a share of the energy.

    Args:
        readers: of one group; changed meanwhile.
        units: of the group.
    """
    found = torch.zeros(units, dtype=torch.float64)
    left, lost = list(range(units)), 0.0
    while left:
        costs = torch.stack([reader.costs(left) for reader in readers]).sum(0)
        cheapest = int(costs.argmin())
        lost += float(costs[cheapest])
        unit = left.pop(cheapest)
        found[unit] = lost
        for reader in readers:
            reader.remove(unit)
    return found
