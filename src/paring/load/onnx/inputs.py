"""What a file takes: names, sizes, layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.task import Task
from paring.load.onnx.tables.arithmetic import TYPES

TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Input:
    """One input of the file.

    Attributes:
        value: in the graph.
        spec: as the working form has it; images are NCHW.
        last: whether the file has the channels of its images last.
    """

    value: Any
    spec: TensorSpec
    last: bool


def found(
    graph: Any, task: Task | None, shape: Sequence[int | TensorSpec] | None, where: str
) -> tuple[list[Input], int | None]:
    """The inputs of a graph, and the number of samples that it is made for (None where that is free).

    Args:
        graph: of `onnx_ir`.
        task: gives the sizes that the file leaves open.
        shape: likewise: of one sample, or a description of each input.
        where: for messages.

    Raises:
        ParingError: an input is not a tensor of numbers with a batch, a size is not known, or given otherwise.
    """
    inputs, fixed = [], set()
    for value in graph.inputs:
        sizes = _sizes(value, where)
        if isinstance(sizes[0], int):
            fixed.add(sizes[0])
        dtype = TYPES.get(int(value.dtype)) if value.dtype is not None else None
        if dtype is None:
            raise ParingError(f"its input {value.name} is {value.dtype}", where, f"one of {', '.join(TYPES.values())}")
        image = len(sizes) == 4 and dtype == "float32"
        last = image and _channels_last(value, sizes)
        own = ("batch", *(sizes[dim] for dim in TO_NCHW[1:])) if last else ("batch", *sizes[1:])
        spec = TensorSpec(value.name, own, dtype, layout="NCHW" if image else "")
        inputs.append(Input(value, spec, last))
    if not inputs:
        raise ParingError("takes no input", where, "export a model that takes data")
    if len(fixed) > 1 or 0 in fixed:
        raise ParingError(
            f"its inputs have {', '.join(map(str, sorted(fixed)))} samples",
            where,
            "export it with a free batch dimension",
        )
    known: dict[str, int] = {}
    inputs = [_given(one, _description(one.spec, inputs, task, shape), known, where) for one in inputs]
    inputs = [replace(one, spec=replace(one.spec, shape=_filled(one.spec, known))) for one in inputs]
    free = [f"{size!r} of {one.spec.name}" for one in inputs for size in one.spec.shape[1:] if isinstance(size, str)]
    if free:
        raise ParingError(
            f"its size is not known: {', '.join(free)}", where, "give --shape with the sizes of one sample, or data"
        )
    return inputs, fixed.pop() if fixed else None


def _sizes(value: Any, where: str) -> list[int | str]:
    if value.shape is None or len(value.shape) == 0:
        raise ParingError(f"its input {value.name} has no batch dimension", where, "export it with a batch in front")
    return [dim if isinstance(dim, int) else str(dim.value or f"{value.name}_{i}") for i, dim in enumerate(value.shape)]


def _channels_last(value: Any, sizes: Sequence[int | str]) -> bool:
    """Whether an image ends in its channels: it is transposed at once, or its sizes leave no other reading."""
    turned = [
        list(node.attributes["perm"].value)
        for node, _ in value.uses()
        if node.op_type == "Transpose" and "perm" in node.attributes
    ]
    return TO_NCHW in turned or (sizes[3] in _CHANNELS and sizes[1] not in _CHANNELS)


def _description(
    own: TensorSpec, inputs: Sequence[Input], task: Task | None, shape: Sequence[int | TensorSpec] | None
) -> tuple[int | str, ...] | None:
    """Sizes for one sample of an input, where they are given."""
    specs = list(task.inputs) if task is not None else [one for one in shape or () if isinstance(one, TensorSpec)]
    if specs:
        namesake = next((spec for spec in specs if spec.name == own.name), None)
        if namesake is None and len(specs) == 1 == len(inputs):
            namesake = specs[0]
        return None if namesake is None else namesake.sized(1)[1:]
    sizes = tuple(one for one in shape or () if isinstance(one, int))
    fits = len(inputs) == 1 or len(sizes) == len(own.shape) - 1
    return sizes if sizes and fits else None


def _given(one: Input, sizes: Sequence[int | str] | None, known: dict[str, int], where: str) -> Input:
    """Checks sizes against the file's, and learns what it leaves open."""
    own = one.spec.shape[1:]
    if sizes is None:
        return one
    if len(sizes) != len(own) or any(isinstance(a, int) and a != b for a, b in zip(own, sizes, strict=True)):
        raise ParingError(
            f"takes {one.spec.name} of shape {own}, given is {tuple(sizes)}",
            where,
            "use data of this shape, or export the model for the other",
        )
    for mine, size in zip(own, sizes, strict=True):
        if isinstance(mine, str) and isinstance(size, int) and known.setdefault(mine, size) != size:
            raise ParingError(f"{mine!r} is {known[mine]} and {size}", where, "give one size for it")
    return one


def _filled(spec: TensorSpec, known: Mapping[str, int]) -> tuple[int | str, ...]:
    return ("batch", *(known.get(size, size) if isinstance(size, str) else size for size in spec.shape[1:]))
