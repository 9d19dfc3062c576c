"""Fine-tuning: trains a model a little more, so that it recovers what an earlier step cost."""

from collections.abc import Mapping
from typing import Any, ClassVar

from paring.core.errors import ParingError
from paring.core.model import Event, Model
from paring.core.step import Context, Phase
from paring.train.config import RecoverConfig


class Finetune:
    """Trains all weights of a model that is not quantized yet; those that a step pruned stay 0."""

    name: ClassVar[str] = "finetune"
    phase: ClassVar[Phase] = Phase.RECOVERY
    Config: ClassVar[type[RecoverConfig]] = RecoverConfig

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers with weights that training changes."""
        reason = "a quantized model cannot be trained" if model.fixed else None
        found: dict[str, str | None] = {}
        for name, parameter in model.module.named_parameters():
            frozen = None if parameter.requires_grad else "its weights are frozen (requires_grad)"
            found[name.rpartition(".")[0]] = reason or frozen
        return found

    def apply(self, model: Model, config: Any, context: Context) -> Model:
        """The model with trained weights.

        Raises:
            ParingError: the model is quantized, does not fit the task, or the training diverges.
        """
        return trained(self.name, model, config, context)


def trained(step: str, model: Model, config: RecoverConfig, context: Context) -> Model:
    """What a step gives that trains all weights and does nothing else.

    Raises:
        ParingError: the model is quantized, does not fit the task, or the training diverges.
    """
    if model.fixed:
        raise ParingError(
            "a quantized model cannot be trained: its scales are fixed and its rounding has no gradient",
            step,
            f"place {step} before the quantization step",
        )
    # Here, so that a recipe can be read and checked without torch.
    from paring.train.recovery import recover

    found, told = recover(model, config, context)
    return model.changed(found.module, Event(step, config.model_dump(mode="json"), told))
