"""Golden samples: the first of the test split, with what the artifact and the original model answered."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paring.bundle.manifest import Golden, GoldenInput, dump
from paring.bundle.preprocessing import Normalized, kind
from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.target import Array
from paring.core.task import Task, matched
from paring.measure.answers import Answers

NAME = "golden.json"
_SAMPLES = 8


@dataclass(frozen=True)
class Samples:
    """Golden samples as arrays.

    Attributes:
        inputs: by the model's names, batch first.
        raw: images before preprocessing, uint8, channels last; None where they are not at hand.
        targets: class of each.
    """

    inputs: Mapping[str, Array]
    raw: Array | None
    targets: Array

    def __len__(self) -> int:
        return len(self.targets)


def choose(task: Task, original: Answers, inputs: Sequence[TensorSpec]) -> Samples:
    """The first samples of the test split.

    Args:
        task: the run's data.
        original: what the run kept of the answers on that split.
        inputs: of the model; they are in its order and under its names.

    Raises:
        ParingError: the data are others than those that the run answered.
    """
    count = min(_SAMPLES, task.size("test"), len(original.targets))
    batch = next(iter(task.batches("test", count, limit=count)))
    targets = batch.targets.numpy()
    if not np.array_equal(targets, original.targets[:count]):
        raise ParingError(
            "the data are others than those of the run", task.name, "bring the data back, or run the recipe again"
        )
    names = matched(inputs, task.inputs, task.name)
    arrays = {own: np.ascontiguousarray(batch.inputs[given].numpy()) for own, given in names.items()}
    ordered = {spec.name: arrays[spec.name] for spec in inputs}
    image = kind(task) == "image"
    return Samples(ordered, Normalized.of(task).raw(next(iter(ordered.values()))) if image else None, targets)


def write(
    samples: Samples, original: Answers, shapes: Mapping[str, tuple[int, ...]], folder: Path, bundle: Path
) -> Golden:
    """Writes inputs, the original's answers, and `golden.json`; what artifacts answer lies beside them already.

    Args:
        samples: the inputs.
        original: answers that the run kept.
        shapes: of each output, samples first.
        folder: of the golden samples.
        bundle: that paths are relative to.
    """
    first = next(iter(shapes))  # the answers that a run keeps are those of the first output
    answers = np.asarray(original.outputs[: len(samples)])
    raw = None if samples.raw is None else _put("raw", samples.raw, folder, bundle)
    found = Golden(
        samples=len(samples),
        inputs=tuple(_put(name, array, folder / "inputs", bundle) for name, array in samples.inputs.items()),
        raw=raw,
        original={first: _put(first, answers, folder / "original", bundle).path},
        shapes=dict(shapes),
        targets=tuple(int(target) for target in samples.targets),
    )
    (folder / NAME).write_text(dump(found), encoding="utf-8")
    return found


def put_answers(answers: Mapping[str, Array], folder: Path, bundle: Path) -> dict[str, str]:
    """Writes outputs; output -> path."""
    return {name: _put(name, array.astype(np.float32), folder, bundle).path for name, array in answers.items()}


def load(bundle: Path, golden: Golden) -> dict[str, Array]:
    """The golden inputs, by the model's names.

    Raises:
        ParingError: a file holds fewer or more values than its shape tells.
    """
    return {one.name: array(bundle / one.path, one.dtype, one.shape) for one in golden.inputs}


def array(path: Path, dtype: str, shape: tuple[int, ...]) -> Array:
    """Values of a raw little-endian file.

    Raises:
        ParingError: it holds fewer or more than the shape tells.
    """
    try:
        return np.fromfile(path, np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)
    except (OSError, ValueError) as error:
        raise ParingError(
            f"does not hold {shape} of {dtype}", str(path), "take the bundle from its source again"
        ) from error


def _put(name: str, values: Array, folder: Path, bundle: Path) -> GoldenInput:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.bin"
    little = values if sys.byteorder == "little" else values.byteswap()
    path.write_bytes(np.ascontiguousarray(little).tobytes())
    where = path.relative_to(bundle).as_posix()
    return GoldenInput(name=name, path=where, dtype=values.dtype.name, shape=values.shape)
