"""What a training makes small: the task's own loss, or that and the answers of a teacher."""

import copy
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from paring.core.model import Model
from paring.core.task import Task
from paring.train.config import TaughtConfig
from paring.train.forward import forward
from paring.train.state import weights_digest

Tensors = Mapping[str, Tensor]


class Objective(Protocol):
    """A loss.

    Attributes:
        identity: tells it from every other one; a training goes on from a state of its own objective only.
    """

    identity: str

    def __call__(self, inputs: Tensors, outputs: Tensors, targets: Tensor) -> Tensor:
        """The mean over a batch, a scalar, all on one device."""


class TaskLoss:
    """The task's own."""

    identity = ""

    def __init__(self, task: Task, label_smoothing: float) -> None:
        self._task, self._label_smoothing = task, label_smoothing

    def __call__(self, inputs: Tensors, outputs: Tensors, targets: Tensor) -> Tensor:
        """See `Task.loss`."""
        return self._task.loss(outputs, targets, self._label_smoothing)


class SoftTargets:
    """(1 − λ) · loss of the task + λ · T² · KL(teacher ‖ student), both softened by the temperature T.

    Hinton et al. 2015, arXiv:1503.02531, section 2; the factor T² keeps the gradients of both terms comparable.

    Args:
        task: gives the loss for the labels.
        teacher: of the same inputs and outputs; untouched.
        config: T and λ.
    """

    def __init__(self, task: Task, teacher: Model, config: TaughtConfig) -> None:
        self._labels = TaskLoss(task, config.label_smoothing)
        self._teacher, self._config = teacher, config
        self._module: nn.Module | None = None
        self.identity = f"soft targets of {weights_digest(teacher.module)}"

    def __call__(self, inputs: Tensors, outputs: Tensors, targets: Tensor) -> Tensor:
        """The mean over a batch."""
        share, temperature = self._config.teacher_share, self._config.temperature
        if self._module is None:
            self._module = copy.deepcopy(self._teacher.module).to(targets.device).eval()
        with torch.no_grad():
            taught = forward(self._teacher, self._module, inputs)[self._teacher.outputs[0].name]
        learned = outputs[self._teacher.outputs[0].name]
        soft = kl_div(
            log_softmax(learned / temperature, -1), log_softmax(taught / temperature, -1),
            reduction="batchmean", log_target=True,
        )  # fmt: skip
        return (1 - share) * self._labels(inputs, outputs, targets) + share * temperature**2 * soft
