"""What a training came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from paring.train.config import TrainConfig
    from paring.train.evaluate import Evaluation


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: counted from 1.
        loss: mean over the training batches, while the weights changed.
        learning_rate: at its last step.
        seconds: it took, evaluation included.
        accuracy: on the validation split, 0 to 1; None where it was not evaluated.
        validation_loss: likewise.
    """

    number: int
    loss: float
    learning_rate: float
    seconds: float
    accuracy: float | None = None
    validation_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained module.

    Attributes:
        module: a new module in eval mode, on the CPU.
        history: one entry for each whole epoch.
        steps: done.
        finished: whether these are all; False where `until` ended the training.
        kept: number of the epoch whose weights these are; the last, or the best one.
    """

    module: nn.Module
    history: tuple[Epoch, ...]
    steps: int
    finished: bool
    kept: int


def told(config: TrainConfig, fitted: Fitted, before: Evaluation | None) -> str:
    """A training in one line: its length, and what became of loss and accuracy on the validation split, if any."""
    length = config.steps or config.epochs or config.default_epochs
    words = f"{length} {'step' if config.steps else 'epoch'}{'s' if length > 1 else ''}"
    kept = fitted.history[fitted.kept - 1]
    if before is None or kept.validation_loss is None or kept.accuracy is None:
        return f"{words}, training loss {kept.loss:.2f}"
    return (
        f"{words}, loss {before.loss:.2f} → {kept.validation_loss:.2f}, "
        f"validation {100 * before.accuracy:.1f} → {100 * kept.accuracy:.1f} %"
    )
