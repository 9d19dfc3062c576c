"""Convolutions become four layers, two of which work on each channel alone: canonical polyadic decomposition.

Lebedev et al. 2015, arXiv:1412.6553. See `low_rank.cp`; with data it is the error of the layer's outputs that counts,
`low_rank.metric`. A layer whose decomposition does not converge stays as it is, and is named.
"""

from collections.abc import Mapping
from typing import ClassVar

from paring.core.model import Model
from paring.core.step import Context, Phase, StepConfig
from paring.steps.factorize.options import LowRankConfig, Rank


class CpConfig(LowRankConfig):
    """Options of `factorize.cp`."""

    rank: Rank | None = None
    """The rank itself, of every layer."""


class FactorizeCp:
    """`factorize.cp`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "factorize.cp"
    phase: ClassVar[Phase] = Phase.STRUCTURE
    Config: ClassVar[type[StepConfig]] = CpConfig

    def apply(self, model: Model, config: CpConfig, context: Context) -> Model:
        """The model with factors in the place of layers.

        Raises:
            ParingError: as `low_rank.work.factorized`.
        """
        from paring.steps.factorize.low_rank.cp import Cp
        from paring.steps.factorize.low_rank.work import factorized

        return factorized(model, Cp(context.seed), config, context, self.name)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Convolutions with a kernel; of other layers, why they cannot be taken apart."""
        from paring.steps.factorize.low_rank.cp import Cp
        from paring.steps.factorize.low_rank.work import acts_on

        return acts_on(model, Cp(0), self.name)
