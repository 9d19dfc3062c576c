"""Convolutions become fewer channels, the kernel among these, and all channels again: Tucker-2.

Kim et al. 2016, arXiv:1511.06530. See `low_rank.tucker`; with data it is the error of the layer's outputs that counts,
`low_rank.metric`.
"""

from collections.abc import Mapping
from typing import ClassVar

from paring.core.model import Model
from paring.core.step import Context, Phase, StepConfig
from paring.steps.factorize.options import LowRankConfig, Rank


class TuckerConfig(LowRankConfig):
    """Options of `factorize.tucker`."""

    rank: Rank | tuple[Rank, Rank] | None = None
    """The ranks themselves, of every layer: of its inputs and its outputs, or one for both."""


class FactorizeTucker:
    """`factorize.tucker`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "factorize.tucker"
    phase: ClassVar[Phase] = Phase.STRUCTURE
    Config: ClassVar[type[StepConfig]] = TuckerConfig

    def apply(self, model: Model, config: TuckerConfig, context: Context) -> Model:
        """The model with factors in the place of layers.

        Raises:
            ParingError: as `low_rank.work.factorized`.
        """
        from paring.steps.factorize.low_rank.tucker import Tucker
        from paring.steps.factorize.low_rank.work import factorized

        return factorized(model, Tucker(), config, context, self.name)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Convolutions with a kernel; of other layers, why they cannot be taken apart."""
        from paring.steps.factorize.low_rank.tucker import Tucker
        from paring.steps.factorize.low_rank.work import acts_on

        return acts_on(model, Tucker(), self.name)
