"""Sparse learning before a cut: the channels that will go fade out while the network trains, and others take over.

Wang et al. 2021, "Neural Pruning via Growing Regularization", arXiv:2012.09243, section 3.2: an L2 penalty on what will
be cut grows step by step. Here it is decoupled from the gradient, as AdamW's decay is (Loshchilov and Hutter 2019,
arXiv:1711.05101, section 2), so that momentum and learning rate leave it alone.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from paring.steps.prune.structure.carve import Kept, carved


class Fading:
    """Called between two steps of `fit`: takes a growing share off the weights that will be cut.

    Args:
        module: as training begins with it.
        kept: what stays of each layer.
        axes: as `carved` takes them.
        strength: the share taken off in the last step; it grows from 0 in equal parts.
        steps: of the training.
    """

    def __init__(self, module: nn.Module, kept: Kept, axes: Mapping[str, int], strength: float, steps: int) -> None:
        self._gone, self._strength, self._steps = cut_away(module, kept, axes), strength, steps
        self._begun = False

    def __call__(self, module: nn.Module, done: int) -> None:
        """Changes the module in place."""
        if not self._begun:  # a process begins with the last step done, which has had its share
            self._begun = True
            return
        with torch.no_grad():
            share = min(1.0, self._strength * done / self._steps)
            for name, gone in self._gone.items():
                parameter = module.get_parameter(name)
                self._gone[name] = gone.to(parameter.device)
                parameter.sub_(parameter * self._gone[name], alpha=share)


def cut_away(module: nn.Module, kept: Kept, axes: Mapping[str, int]) -> dict[str, Tensor]:
    """Parameter -> where its values are cut away, float32, 0 or 1; parameters that stay whole are left out."""
    numbered = copy.deepcopy(module).double()  # each value its own place
    with torch.no_grad():
        for parameter in numbered.parameters():
            parameter.copy_(torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape))
    sizes = {name: parameter.shape for name, parameter in module.named_parameters()}
    found = {}
    for name, left in carved(numbered, kept, axes).named_parameters():
        if left.shape != sizes[name]:
            gone = torch.ones(sizes[name])
            gone.view(-1)[left.detach().flatten().long()] = 0.0
            found[name] = gone
    return found
