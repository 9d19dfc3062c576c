"""Fine-tuning: trains a model a little more, so that it recovers what an earlier step cost."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from paring.core.errors import ParingError
from paring.core.model import Event, Model
from paring.core.step import Context, Phase
from paring.train.config import TrainConfig


class FinetuneConfig(TrainConfig):
    """Options of fine-tuning: those of training, with a short length and a low learning rate."""

    default_epochs: ClassVar[int] = 1

    learning_rate: float = Field(0.01, gt=0)
    """Peak of the schedule, per step."""


class Finetune:
    """Trains all weights of a model that is not quantized yet."""

    name: ClassVar[str] = "finetune"
    phase: ClassVar[Phase] = Phase.RECOVERY
    Config: ClassVar[type[FinetuneConfig]] = FinetuneConfig

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers with weights that training changes."""
        reason = "a quantized model cannot be trained" if model.quantized else None
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
        if model.quantized:
            raise ParingError(
                "a quantized model cannot be trained: its scales are fixed and its rounding has no gradient",
                self.name,
                "place finetune before the quantization step",
            )
        # Here, so that a recipe can be read and checked without torch.
        from paring.train.evaluate import evaluate
        from paring.train.history import told
        from paring.train.loop import fit

        before = evaluate(model, context.task, "validation") if context.task.size("validation") else None
        fitted = fit(
            model, context.task, config, seed=context.seed, directory=context.directory, progress=context.progress
        )
        event = Event(step=self.name, config=config.model_dump(mode="json"), changed=told(config, fitted, before))
        return model.changed(fitted.module, event)
