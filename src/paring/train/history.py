"""What a training came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


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
