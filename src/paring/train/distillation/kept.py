"""A teacher's answers, computed once and kept on disk."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.step import Progress
from paring.core.task import Batch, Task
from paring.train.distillation.teacher import Teacher

_BATCH = 128


class KeptAnswers:
    """What a teacher answers to the training split, read from disk.

    Args:
        teacher: asked for what is not there yet.
        task: gives the samples.
        directory: `teacher-….npy` and `teacher-….samples.npy` lie there, and are used again by the same teacher.
        progress: shows how far it has come.

    Raises:
        ParingError: the task does not count its samples, or there is no room.
    """

    def __init__(self, teacher: Teacher, task: Task, directory: Path, progress: Progress) -> None:
        self.name = teacher.name
        self.identity = f"kept {teacher.identity}"
        digest = hashlib.sha256(f"{teacher.identity} {task.identity}".encode()).hexdigest()[:16]
        answers, samples = directory / f"teacher-{digest}.npy", directory / f"teacher-{digest}.samples.npy"
        if not samples.is_file():
            _write(teacher, task, answers, samples, progress)
        self._answers = np.load(answers, mmap_mode="r", allow_pickle=False)
        self._rows = {int(sample): row for row, sample in enumerate(np.load(samples, allow_pickle=False))}

    def __call__(self, batch: Batch) -> Tensor:
        """See `Teacher`."""
        if batch.samples is None:
            raise ParingError(
                "answers are kept, but the samples are changed at random, so that each would need another answer",
                f"teacher {self.name}",
                "leave keep_answers out, or augment",
            )
        rows = [self._rows[sample] for sample in batch.samples.tolist()]
        return torch.from_numpy(self._answers[rows]).to(batch.targets.device)


def _write(teacher: Teacher, task: Task, answers: Path, samples: Path, progress: Progress) -> None:
    found, numbers = [], []
    with progress.bar("teacher", task.size("train")) as advance:
        for batch in task.batches("train", _BATCH):
            if batch.samples is None:
                raise ParingError(
                    "does not count its samples, so a teacher's answers cannot be found again",
                    f"task {task.name}",
                    "set Batch.samples, or leave keep_answers out",
                )
            found.append(teacher(batch).cpu().numpy())
            numbers.append(batch.samples.numpy())
            advance(len(batch.targets), "")
    answers.parent.mkdir(parents=True, exist_ok=True)
    for path, array in ((answers, np.concatenate(found)), (samples, np.concatenate(numbers))):  # the last one completes
        with atomic.write(path) as draft, draft.open("wb") as file:
            np.save(file, array, allow_pickle=False)
