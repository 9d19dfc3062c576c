"""The masks of `prune.movement`: by how the weights have moved."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from paring.steps.prune.sparsity.masks import by_size
from paring.steps.prune.sparsity.moving import Held, Moving

if TYPE_CHECKING:
    from paring.steps.prune.movement import MovementConfig

_TINY = 1e-30


class Scores(Moving):
    """Sanh et al. 2020, arXiv:2005.07683, sections 3 and 4.

    The gradient at a masked weight is that of the masked product, and the weight under the mask waits unchanged: both
    as the straight-through estimator has it (equation 2). The paper lets Adam scale the gradient of S; here it is
    divided by its root mean square over the tensor, which needs no further state.

    Args:
        module: that training begins with.
        names: of the tensors.
        config: of the step.
        end: of the schedule, in steps.
        where: the step.
    """

    more = ("dense", "importance")

    def __init__(self, module: nn.Module, names: Sequence[str], config: "MovementConfig", end: int, where: str) -> None:
        ones = {name: torch.ones_like(module.get_parameter(name), dtype=torch.uint8) for name in names}
        lower = "a lower sparsity" if config.mode == "hard" else "a lower penalty"
        super().__init__(ones, where, f"{lower}, or name the layer in keep")
        self._config, self._end = config, end

    def move(self, held: Sequence[Held], done: int) -> None:
        """See `Moving.move`."""
        config = self._config
        for one in held:
            if one.weight.grad is not None and done <= self._end:
                moved = config.importance_rate * self._moved(one, done)
                one.more["importance"].sub_(moved)
            dense = one.more["dense"]
            dense.copy_(torch.where(one.active, one.weight, dense))
        if config.polynomial.moves(done, self._end):
            importance = [one.more["importance"] for one in held]
            if config.sparsity is not None:
                share = config.polynomial.share(done, self._end, config.sparsity)
                found = by_size(importance, share, config.scope)
            else:
                found = [torch.sigmoid(one) > config.threshold for one in importance]
            for one, mask in zip(held, found, strict=True):
                one.mask.copy_(mask)
                one.weight.copy_(one.more["dense"])

    def _moved(self, one: Held, done: int) -> Tensor:
        """∂L/∂S of a step, by the weights that its gradient was taken at, with the penalty's part."""
        assert one.weight.grad is not None  # noqa: S101 - asked by the caller
        found = one.weight.grad * one.more["dense"]
        found = found / found.square().mean().sqrt().clamp_min(_TINY)
        if self._config.mode == "soft":
            grown = self._config.polynomial.share(done, self._end, 1.0)
            chance = torch.sigmoid(one.more["importance"])
            found = found + 4 * self._config.penalty * grown * chance * (1 - chance)  # 4 σ′(0) = 1
        return found
