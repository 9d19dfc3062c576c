"""Weights that an earlier step set to 0 stay 0 through a training."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from paring.core.model import Invariant

SPARSITY = "sparsity"  # kind of the invariants that speak of zeros


class Zeros:
    """Puts zeros back; called with the module between two steps of `fit`.

    Args:
        module: as training begins with it.
        invariants: of the model; those of sparsity name the layers or tensors whose zeros stay.
    """

    def __init__(self, module: nn.Module, invariants: Iterable[Invariant]) -> None:
        names = tuple(f"{one.layer}." for one in invariants if one.kind == SPARSITY)
        self._kept: dict[str, Tensor] = {
            name: parameter.detach() == 0
            for name, parameter in module.named_parameters()
            if names and f"{name}.".startswith(names) and parameter.ndim > 1
        }

    def __call__(self, module: nn.Module) -> None:
        """Changes the module in place."""
        with torch.no_grad():
            for name, zeros in self._kept.items():
                parameter = module.get_parameter(name)
                self._kept[name] = zeros.to(parameter.device)
                parameter.masked_fill_(self._kept[name], 0.0)
