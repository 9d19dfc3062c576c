"""Layers become products of two by a singular value decomposition.

Linear layers and 1×1 convolutions: W ≈ V A. Convolutions with larger kernels: one down the kernel, one across
(Jaderberg et al. 2014, arXiv:1405.3866). Embeddings: a narrower table and a linear layer. See `low_rank.svd`; with data
it is the error of the layer's outputs that counts, `low_rank.metric`.
"""

from collections.abc import Mapping
from typing import ClassVar

from paring.core.model import Model
from paring.core.step import Context, Phase, StepConfig
from paring.steps.factorize.options import LowRankConfig, Rank


class SvdConfig(LowRankConfig):
    """Options of `factorize.svd`."""

    rank: Rank | None = None
    """The rank itself, of every layer."""


class FactorizeSvd:
    """`factorize.svd`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "factorize.svd"
    phase: ClassVar[Phase] = Phase.STRUCTURE
    Config: ClassVar[type[StepConfig]] = SvdConfig

    def apply(self, model: Model, config: SvdConfig, context: Context) -> Model:
        """The model with factors in the place of layers.

        Raises:
            ParingError: as `low_rank.work.factorized`.
        """
        from paring.steps.factorize.low_rank.svd import Svd
        from paring.steps.factorize.low_rank.work import factorized

        return factorized(model, Svd(), config, context, self.name)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Linear layers, convolutions and embeddings; of those that cannot be taken apart, the reason."""
        from paring.steps.factorize.low_rank.svd import Svd
        from paring.steps.factorize.low_rank.work import acts_on

        return acts_on(model, Svd(), self.name)
