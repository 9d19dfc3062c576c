"""What every step on sparsity has in common: the choice of layers, and its place in the order."""

from collections.abc import Mapping
from typing import ClassVar

from paring.core.model import Model
from paring.core.step import Phase, StepConfig


class SparseConfig(StepConfig):
    """Which layers a step prunes.

    Patterns are shell patterns on names of layers (`blocks.3.*`), or `@` and a kind: `@first`, `@last`, `@conv`,
    `@depthwise`, `@linear`, `@transposed`, `@embedding`, `@recurrent`.

    Attributes:
        layers: patterns of the layers to prune; all if empty.
        keep: patterns of layers that are left as they are.
    """

    layers: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


class SparseStep:
    """Sets weights to 0. Biases, norms and tensors that multiply nothing are left out."""

    phase: ClassVar[Phase] = Phase.SPARSITY

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers whose weights can be pruned; others with the reason why not."""
        from paring.steps.prune.sparsity import tensors

        return tensors.acts_on(model)
