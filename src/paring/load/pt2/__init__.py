"""Exported programs: `pt2:FILE`, as `torch.export.save` writes them.

`torch.export.load` unpickles, evaluates text and may load compiled code. So the file is read here as what it is, an
archive of JSON and of plain numbers, and its graph is rebuilt as a `Blueprint`: ordinary layers, which every technique
acts on. Nothing in the file is executed, and a model saved by paring does not need it any more.
"""

from dataclasses import replace
from pathlib import Path

from paring.core.entry import Entry
from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.core.task import Task
from paring.load import probe, weights
from paring.load.blueprint import Network
from paring.load.pt2 import archive, program


def open(
    entry: Entry,
    *,
    task: Task | None = None,
    shape: tuple[int, ...] | tuple[TensorSpec, ...] | None = None,
    seed: int = 0,  # noqa: ARG001  # the contract of every door; the program brings its weights
) -> Model:
    """The program's network, with its weights. Inputs are its own, under the task's names where there is a task.

    Args:
        entry: `pt2:FILE`, without options.
        task: gives names, layouts and ranges of the inputs, in order.
        shape: of the input, where the program leaves more than the batch open.
        seed: not used.

    Raises:
        ParingError: the file is damaged or of another version, needs code, was exported for training or for one batch
            size, or holds operators that are not torch's own.
    """
    path = Path(entry.rest)
    where = f"pt2:{path}"
    if entry.arguments:
        raise ParingError("takes no options", where, "leave the parentheses out")
    stored, tensors = archive.read(path)
    found = program.translate(stored, tensors, where)
    network = Network(found.blueprint)
    weights.put(found.tensors, network, path)
    inputs = _inputs(found.inputs, task.inputs if task is not None else shape, where)
    model = probe.model(network, Source(where, {}, found.blueprint.as_json()), inputs)
    names = found.outputs
    return replace(
        model, outputs=tuple(replace(spec, name=name) for spec, name in zip(model.outputs, names, strict=True))
    )


def _inputs(
    own: tuple[TensorSpec, ...], given: tuple[int, ...] | tuple[TensorSpec, ...] | None, where: str
) -> tuple[TensorSpec, ...]:
    """The program's inputs, what it leaves open filled in."""
    specs = [spec for spec in given or () if isinstance(spec, TensorSpec)]
    sizes = tuple(size for size in given or () if isinstance(size, int))
    if sizes:
        specs = [replace(own[0], shape=("batch", *sizes))]
    if not specs:
        return own if not _open(own) else _refuse(own, where)
    if len(specs) != len(own) or any(
        len(wanted.shape) != len(spec.shape)
        or any(isinstance(a, int) and a != b for a, b in zip(wanted.shape[1:], spec.shape[1:], strict=True))
        or wanted.dtype != spec.dtype
        for wanted, spec in zip(own, specs, strict=True)
    ):
        raise ParingError(
            f"takes {_told(own)}, given is {_told(tuple(specs))}",
            where,
            "use the data that it was made for, or export it for this shape",
        )
    return tuple(specs)


def _open(specs: tuple[TensorSpec, ...]) -> bool:
    return any(isinstance(size, str) for spec in specs for size in spec.shape[1:])


def _refuse(own: tuple[TensorSpec, ...], where: str) -> tuple[TensorSpec, ...]:
    raise ParingError(f"leaves sizes open: {_told(own)}", where, "give --shape with the sizes of one sample, or data")


def _told(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)
