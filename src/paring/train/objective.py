"""What a training makes small: the task's own loss, or (`paring.train.distillation`) that and what a teacher knows."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from paring.core.task import Batch, Task

Tensors = Mapping[str, Tensor]


class Objective:
    """A loss.

    Attributes:
        identity: tells it from every other one; a training goes on from a state of its own objective only.
        adapters: trained along with the network, and thrown away afterwards; most objectives have none.
    """

    identity: str = ""

    def __init__(self) -> None:
        self.adapters: nn.Module = nn.ModuleList()

    def listening(self, module: nn.Module) -> AbstractContextManager[None]:
        """While it lasts, what the layers of `module` give can be heard by the loss."""
        return nullcontext()

    def __call__(self, batch: Batch, outputs: Tensors) -> Tensor:
        """The mean over a batch, a scalar; all on one device."""
        raise NotImplementedError


class TaskLoss(Objective):
    """The task's own."""

    def __init__(self, task: Task, label_smoothing: float) -> None:
        super().__init__()
        self._task, self._label_smoothing = task, label_smoothing

    def __call__(self, batch: Batch, outputs: Tensors) -> Tensor:
        """See `Task.loss`."""
        return self._task.loss(outputs, batch.targets, self._label_smoothing)
