"""Distillation: the network is trained to answer as a teacher does.

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531; for losses on features see
`paring.train.distillation`.
"""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, model_validator

from paring.core.model import Model
from paring.core.step import ORIGINAL, Context, Phase, StepConfig
from paring.steps.finetune import Finetune, trained
from paring.train.config import RecoverConfig
from paring.train.distillation.options import Teachers


class DistillConfig(RecoverConfig):
    """Options of `distill`: those of every recovery; the teacher is the model that the recipe began with by default."""

    default_epochs: ClassVar[int] = 3

    teacher: Teachers = Field((ORIGINAL,), min_length=1)
    """Who teaches: as for every recovery, but there has to be somebody."""

    @model_validator(mode="after")
    def _something_is_taught(self) -> Self:
        if self.teacher_share == 0 and not self.features:
            raise ValueError("teacher_share 0 and no features: nothing is learned from the teacher; finetune does that")
        return self


class Distill:
    """Trains all weights of a model that is not quantized yet to answer as a teacher does; zeros stay."""

    name: ClassVar[str] = "distill"
    phase: ClassVar[Phase] = Phase.RECOVERY
    Config: ClassVar[type[StepConfig]] = DistillConfig

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers with weights that training changes."""
        return Finetune().acts_on(model)

    def apply(self, model: Model, config: DistillConfig, context: Context) -> Model:
        """The model with trained weights.

        Raises:
            ParingError: as `finetune`; a teacher cannot be opened, or has other inputs or classes; layers cannot be
                paired.
        """
        return trained(self.name, model, config, context)
