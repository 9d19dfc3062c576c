"""Who teaches: a model, a file in its runtime, or several of them together."""

import copy
import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.target import Runner
from paring.core.task import Batch, Task, matched
from paring.train.forward import forward
from paring.train.state import weights_digest


class Teacher(Protocol):
    """Gives answers to learn from.

    Attributes:
        name: for people.
        identity: tells it from every other one.
    """

    name: str
    identity: str

    def __call__(self, batch: Batch) -> Tensor:
        """Logits, float32, shape (batch, classes), on the batch's device, without gradients."""


class ModelTeacher:
    """A model in PyTorch.

    Args:
        model: untouched.
        name: for people.
    """

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name
        self.identity = weights_digest(model.module)
        self._module: nn.Module | None = None

    def on(self, device: torch.device) -> nn.Module:
        """Its module in eval mode, a copy on that device; always the same one, so that who listens hears on."""
        if self._module is None:
            self._module = copy.deepcopy(self.model.module).eval().requires_grad_(False)
        return self._module.to(device)

    def __call__(self, batch: Batch) -> Tensor:
        """See `Teacher`."""
        with torch.no_grad():
            answers = forward(self.model, self.on(batch.targets.device), batch.inputs)
        return answers[self.model.outputs[0].name]


class FileTeacher:
    """An exported file in its runtime; answers alone, as nobody sees into it.

    Args:
        runner: of the file.
        name: the file's.
        task: whose inputs feed it.
        digest: of the file's content.
    """

    def __init__(self, runner: Runner, name: str, task: Task, digest: str) -> None:
        self.name, self.identity = name, digest
        self._runner = runner
        self._names = matched(runner.inputs, task.inputs, name)
        self._widths = {spec.name: spec.sized(1)[1:] for spec in runner.inputs}

    def __call__(self, batch: Batch) -> Tensor:
        """See `Teacher`."""
        fed = {own: self._widened(batch.inputs[given], self._widths[own]) for own, given in self._names.items()}
        found = next(iter(self._runner.run({name: tensor.cpu().numpy() for name, tensor in fed.items()}).values()))
        return torch.from_numpy(found).float().to(batch.targets.device)

    def _widened(self, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Tokens padded with 0, which their mask hides, to the length that the file has."""
        if tensor.ndim != 2 or len(shape) != 1:
            return tensor
        if tensor.shape[1] > shape[0]:
            raise ParingError(
                f"the file takes texts of {shape[0]} tokens, the data give {tensor.shape[1]}",
                f"teacher {self.name}",
                f"a shorter length of the data, e.g. reviews(length={shape[0]}), or a file of longer texts",
            )
        return torch.nn.functional.pad(tensor, (0, shape[0] - tensor.shape[1]))


class Ensemble:
    """Several teachers, which answer by the mean of their logits: the geometric mean of their distributions.

    Hinton et al. 2015, arXiv:1503.02531, section 1.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self._teachers = teachers
        self.name = ", ".join(one.name for one in teachers)
        self.identity = hashlib.sha256(" ".join(one.identity for one in teachers).encode()).hexdigest()

    def __call__(self, batch: Batch) -> Tensor:
        """See `Teacher`."""
        # of each the logits that its own softmax is blind to are taken off, or the loudest would rule
        return torch.stack([one(batch).log_softmax(1) for one in self._teachers]).mean(0)


def agree(teacher: Teacher, student: Model, batch: Batch) -> None:
    """Raises ParingError if a teacher cannot answer what the student is asked, or answers for other classes."""
    try:
        taught = teacher(batch)
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
        given = {name: tuple(tensor.shape) for name, tensor in batch.inputs.items()}
        raise ParingError(
            f"the teacher cannot be fed with the student's inputs, {given}: {str(error).splitlines()[0]}",
            f"teacher {teacher.name}",
            "name a teacher that takes the same inputs",
        ) from error
    learned = student(batch.inputs)[student.outputs[0].name]
    where = f"teacher {teacher.name}"
    if taught.shape != learned.shape:
        answers = [" × ".join(map(str, one.shape[1:])) for one in (taught, learned)]
        raise ParingError(
            f"the teacher tells {answers[0]} classes apart, the student {answers[1]}",
            where,
            "name a teacher of the same classes",
        )
    if not bool(torch.isfinite(taught).all()):
        raise ParingError("the teacher's answers are not finite", where, "look for NaN in its weights")
