"""Accuracy and loss in PyTorch."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.task import Split, Task
from paring.train.forward import forward, placed
from paring.train.simulate import evaluated


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a module is on a split.

    Attributes:
        correct: samples whose largest output is the target's.
        total: samples seen.
        loss: mean over the samples.
    """

    correct: int
    total: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of correct samples, 0 to 1."""
        return self.correct / self.total


def accuracy(
    model: Model, task: Task, split: Split, batch_size: int = 500, limit: int | None = None
) -> tuple[int, int]:
    """Correct answers and samples seen.

    Args:
        model: evaluated where its weights lie.
        task: gives the samples.
        split: which of them.
        batch_size: samples in a forward pass.
        limit: at most so many samples.
    """
    found = evaluate(model, task, split, batch_size, limit)
    return found.correct, found.total


def evaluate(model: Model, task: Task, split: Split, batch_size: int = 500, limit: int | None = None) -> Evaluation:
    """Accuracy and loss on a split that holds samples; arguments as for `accuracy`."""
    correct, total, loss = tally(model, model.module, task, split, batch_size=batch_size, limit=limit).tolist()
    return Evaluation(int(correct), int(total), loss / total)


class Judge:
    """Tells what a model lost against another, on the validation split.

    Args:
        original: evaluated once, when it is needed.
        task: gives the samples.

    Raises:
        ParingError: the task has no validation split.
    """

    def __init__(self, original: Model, task: Task) -> None:
        if not task.size("validation"):
            raise ParingError(
                "a limit on the loss of accuracy needs a validation split to judge by",
                task.name,
                "give the data set more samples, or leave the limit out",
            )
        self._original, self._task = original, task

    def drop(self, model: Model) -> float:
        """Accuracy lost, percentage points."""
        return self._before - self._accuracy(model)

    @cached_property
    def _before(self) -> float:
        return self._accuracy(self._original)

    def _accuracy(self, model: Model) -> float:
        fast = replace(model, module=evaluated(model.module))
        return 100 * evaluate(fast, self._task, "validation").accuracy


def tally(
    model: Model,
    module: nn.Module,
    task: Task,
    split: Split,
    *,
    batch_size: int = 500,
    limit: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> Tensor:
    """Correct answers, samples seen and summed loss, to be added up over shards; float64.

    Args:
        model: names the inputs and outputs.
        module: what is evaluated, in eval mode meanwhile.
        task: gives the samples.
        split: which of them.
        batch_size: samples in a forward pass, over all shards together.
        limit: at most so many samples, likewise.
        shard: (this process, number of processes).
    """
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    counts = torch.zeros(3, dtype=torch.float64)
    trained = module.training
    if trained:  # a graph in eval mode refuses to be told so
        module.eval()
    with torch.inference_mode():
        for batch in task.batches(split, batch_size, limit=limit, shard=shard):
            size = len(batch.targets)
            if size == 0:  # the last batch may hold fewer samples than there are shards
                continue
            targets = batch.targets.to(device)
            outputs = forward(model, module, placed(batch.inputs, device))
            answers = outputs[model.outputs[0].name].argmax(1)
            loss = task.loss(outputs, targets)
            counts += torch.tensor([int((answers == targets).sum()), size, float(loss) * size], dtype=torch.float64)
    if trained:
        module.train()
    return counts
