"""What a model or an artifact answers on a whole split, kept on disk, so that it is computed once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.step import Progress
from paring.core.target import Array, Runner
from paring.core.task import Split, Task, matched
from paring.train.simulate import evaluated, laid_out

Answer = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class Answers:
    """Outputs and targets of a split, memory-mapped.

    Attributes:
        outputs: float32, shape (samples, classes).
        targets: int64, shape (samples,).
    """

    outputs: Array
    targets: Array

    @classmethod
    def load(cls, folder: Path) -> "Answers":
        """What `collect` wrote to `folder`."""
        return cls(
            np.load(folder / "outputs.npy", mmap_mode="r", allow_pickle=False),
            np.load(folder / "targets.npy", allow_pickle=False),
        )


def of_model(model: Model) -> Answer:
    """A model in PyTorch as a function of arrays."""
    fast = replace(model, module=evaluated(model.module))

    def answer(inputs: Mapping[str, Array]) -> dict[str, Array]:
        # copies: a layer may write into its input, which is the caller's
        outputs = fast({spec.name: laid_out(torch.tensor(inputs[spec.name])) for spec in model.inputs})
        return {name: tensor.detach().float().numpy() for name, tensor in outputs.items()}

    return answer


def of_runner(runner: Runner, task: Task) -> Answer:
    """An artifact in its runtime as a function of arrays; fed with the task's inputs by name, else in their order."""
    names = matched(runner.inputs, task.inputs, runner.runtime)
    return lambda inputs: runner.run({own: inputs[given] for own, given in names.items()})


def collect(
    answer: Answer,
    task: Task,
    split: Split,
    folder: Path,
    progress: Progress,
    label: str,
    limit: int | None = None,
    batch_size: int = 100,
) -> Answers:
    """Runs a split through `answer` and writes the first output to `folder`.

    Raises:
        ParingError: the split is empty, or an answer is NaN.
    """
    count = min(task.size(split), limit or task.size(split))
    if count == 0:
        raise ParingError(f"the {split} split is empty", task.name, "give the data set more samples")
    targets, done, shape = [np.empty(0, np.int64)], 0, None
    # written as a stream, not through a memory map: on a full disk a map kills the process instead of raising
    with progress.bar(label, count) as advance, (folder / "outputs.npy").open("wb") as file:
        for batch in task.batches(split, batch_size, limit=count):
            found = next(iter(answer({name: tensor.numpy() for name, tensor in batch.inputs.items()}).values()))
            if not np.isfinite(found).all():
                bad = done + int(np.argmin(np.isfinite(found).reshape(len(found), -1).all(1)))
                raise ParingError(
                    f"the answer to {split} sample {bad} is not a number", label, "look for NaN in weights and data"
                )
            if shape is None:
                shape = (count, *found.shape[1:])
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(found.astype("<f4", copy=False).tobytes())
            targets.append(batch.targets.numpy())
            done += len(found)
            advance(len(found), "")
    np.save(folder / "targets.npy", np.concatenate(targets), allow_pickle=False)
    return Answers.load(folder)
