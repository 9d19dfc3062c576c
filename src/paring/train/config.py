"""Options of a training, as data."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from paring.core.step import StepConfig
from paring.train.distillation.options import Decoupled, Features, Teachers

FROM_SCRATCH: Mapping[str, Any] = {
    "epochs": 10,
    "batch_size": 128,
    "learning_rate": 0.2,
    "augment": True,
    "label_smoothing": 0.1,
}
"""Options to begin with for a network of convolutions with drawn weights."""
FINE_TUNING: Mapping[str, Any] = {
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 5e-5,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip_norm": 1.0,
}
"""For a checkpoint of `transformers`: as BERT is fine-tuned (Devlin et al. 2019, section A.3)."""


class TrainConfig(StepConfig):
    """How to train. Its length is `epochs` or `steps`, not both."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    default_epochs: ClassVar[int] = 10

    epochs: int | None = Field(None, ge=1)
    """Passes over the training split. Default where neither length is given: 10 (fine-tuning: 1)."""
    steps: int | None = Field(None, ge=1)
    """Optimizer steps, instead of epochs."""
    batch_size: int = Field(128, ge=1)
    """Samples in a step, over all processes together."""
    learning_rate: float = Field(0.1, gt=0)
    """Peak of the schedule, per step."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Stochastic gradient descent with momentum, or Adam with decoupled weight decay."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Share of the last update kept (SGD); the first beta (AdamW)."""
    nesterov: bool = False
    """Nesterov's momentum (SGD only)."""
    weight_decay: float = Field(5e-5, ge=0)
    """Share of a weight taken off in a step, times the learning rate. Norms and biases have none."""
    schedule: Literal["onecycle", "cosine", "constant", "plateau"] = "onecycle"
    """Learning rate after the warm-up: cosine down to 0 (`onecycle` and `cosine`), the peak throughout (`constant`), or
    the peak until the validation accuracy rises no more, then less (`plateau`)."""
    factor: float = Field(0.1, gt=0, lt=1)
    """Plateau only: what the learning rate is multiplied by, each time."""
    patience: int = Field(2, ge=0)
    """Plateau only: evaluations in a row without a new best accuracy that are let pass; the next lowers the rate."""
    warmup: float = Field(0.2, ge=0, lt=1)
    """Share of all steps in which the rate rises: from 1/25 of the peak along a cosine (`onecycle`), else linearly."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target probability spread over all classes."""
    augment: bool = False
    """Whether samples are changed at random, as the task defines it."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest norm of all gradients together; None does not clip."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay per step of the moving average of the weights that is evaluated and returned; 0 is off."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the arithmetic where bfloat16 is safe (autocast); weights stay float32."""
    channels_last: bool = True
    """Whether images lie channels-last in memory, which most convolution kernels run faster."""
    evaluate_every: int = Field(1, ge=1)
    """Epochs between two evaluations on the validation split; the last epoch is always evaluated."""
    keep: Literal["last", "best"] = "last"
    """Whose weights are returned: the last, or those of the epoch with the best validation accuracy."""

    @model_validator(mode="before")
    @classmethod
    def _length(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("epochs") is None and data.get("steps") is None:
            return {**data, "epochs": cls.default_epochs}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"epochs={self.epochs} and steps={self.steps}: give one of them, not both")
        for name in ("factor", "patience"):
            if self.schedule != "plateau" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} means nothing without schedule='plateau'")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError(
                f"nesterov=True needs optimizer='sgd' and a momentum above 0, "
                f"not optimizer={self.optimizer!r} and momentum={self.momentum}"
            )
        return self

    def length(self, per_epoch: int) -> int:
        """Steps in all, where an epoch has `per_epoch`."""
        return self.steps if self.steps is not None else (self.epochs or self.default_epochs) * per_epoch


class TaughtConfig(TrainConfig):
    """How to train, perhaps with a teacher."""

    teacher: Teachers = ()
    """`original`: the model that the recipe began with; another model, by its name, or an exported file; or several,
    whose answers are averaged. Without one the labels alone teach."""
    temperature: float = Field(4.0, gt=0)
    """What the logits of both are divided by before they are compared."""
    teacher_share: float = Field(0.5, ge=0, le=1)
    """Share of the teacher's answers in the loss; the labels have the rest."""
    decoupled: Decoupled | None = None
    """Weights of decoupled distillation, which then takes the place of soft targets."""
    features: Features = ()
    """Losses on what layers give, added to those on answers: names, each with its options if it has some."""
    keep_answers: bool = False
    """Whether the teacher answers the training split once, beforehand, and its answers are kept on disk."""

    @model_validator(mode="after")
    def _taught(self) -> Self:
        if not self.teacher and (self.decoupled is not None or self.features or self.keep_answers):
            raise ValueError("decoupled, features and keep_answers are about a teacher, and none is named")
        if self.features and len(self.teacher) > 1:
            raise ValueError("features are learned from one teacher, several are named")
        if self.keep_answers and self.features:
            raise ValueError("kept answers tell nothing of features: leave out keep_answers or features")
        if self.keep_answers and self.teacher_share == 0:
            raise ValueError("keep_answers with teacher_share 0: nobody would read the answers")
        return self


class RecoverConfig(TaughtConfig):
    """How a network regains what a step cost it: the option `recover` of every step that changes weights or shapes."""

    default_epochs: ClassVar[int] = 1

    learning_rate: float = Field(0.01, gt=0)
    """Peak of the schedule, per step."""
