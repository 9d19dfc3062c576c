"""What a Keras model takes, as the network takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.task import Task
from paring.load.keras.sheet import Value

_OPEN = (
    "give the shape of one sample: --shape 3,224,224 for a picture, --shape 128 for a sequence, "
    "--shape NAME=SIZES for each of several inputs; or name the data"
)
Shape = tuple[int, ...] | tuple[TensorSpec, ...]  # of one input, or a description of each


@dataclass(frozen=True)
class Input:
    """One input: as the working form has it, and what it is while the network is drawn."""

    spec: TensorSpec
    value: Value


def inputs_of(model: Any, task: Task | None, shape: Shape | None, where: str) -> list[Input]:
    """The inputs of a model, in Keras's order; a picture (three dimensions) has its channels first.

    Raises:
        ParingError: the model is of a class of its own, a size is open, or the one given is another.
    """
    described = _described(shape)
    if type(model).__name__ == "Sequential" and model._functional is None and described:
        model.build((None, *_last(described[0][1])))
    tensors = getattr(model, "inputs", None)
    if (not hasattr(model, "_nodes_by_depth") and getattr(model, "_functional", None) is None) or not tensors:
        raise ParingError(
            "is neither a Functional nor a Sequential model with a known input",
            where,
            f"build it as one: keras.Model(inputs, outputs); {_OPEN}",
        )
    first = any(getattr(layer, "data_format", None) == "channels_first" for layer in model._flatten_layers())
    wanted: list[TensorSpec | tuple[int, ...] | None] = [None] * len(tensors)
    if task is not None and len(task.inputs) == len(tensors):
        wanted = list(task.inputs)
    elif described:
        names = [str(tensor.name) for tensor in tensors]
        if len(described) != len(tensors):
            raise ParingError(
                f"has {len(tensors)} inputs ({', '.join(names)}), {len(described)} described",
                where,
                "leave the shape out, or give --shape NAME=SIZES for each",
            )
        named = dict(described)
        wanted = [named[name] for name in names] if named.keys() == set(names) else [sizes for _, sizes in described]
    names = _names(tensors, task)
    return [
        _input(model, tensor, name, one, first, where) for tensor, name, one in zip(tensors, names, wanted, strict=True)
    ]


def _described(shape: Shape | None) -> list[tuple[str, tuple[int, ...]]]:
    """Name and sizes of each input that is described; the types are the model's own."""
    specs = [one for one in shape or () if isinstance(one, TensorSpec)]
    sizes = tuple(one for one in shape or () if isinstance(one, int))
    found = [(one.name, tuple(size for size in one.shape[1:] if isinstance(size, int))) for one in specs]
    return [("", sizes)] if sizes else found


def _input(
    model: Any, tensor: Any, name: str, wanted: TensorSpec | tuple[int, ...] | None, first: bool, where: str
) -> Input:
    own: tuple[int | None, ...] = tuple(tensor.shape[1:])
    is_image = len(own) == 3
    moved = is_image and not first
    shown = (own[-1], *own[:-1]) if moved else own
    asked = wanted.shape[1:] if isinstance(wanted, TensorSpec) else wanted
    given: tuple[int | str | None, ...] = shown if asked is None else asked
    if len(given) != len(shown) or any(
        one is not None and not isinstance(other, str) and one != other for one, other in zip(shown, given, strict=True)
    ):
        raise ParingError(
            f"takes {name} of shape {_text(shown)}, not {_text(given)}",
            where,
            "use the shape that the model was made for",
        )
    sizes = [one if one is not None else other for one, other in zip(shown, given, strict=True)]
    if not all(isinstance(size, int) for size in sizes):
        raise ParingError(f"the size of its input {name} is open: {_text(shown)}", where, _OPEN)
    full = tuple(int(size) for size in sizes if isinstance(size, int))
    rows = min(_tables(model, tensor), default=None)
    dtype = str(tensor.dtype)
    low_high: tuple[float, float] | None = None
    if rows is not None:
        dtype, low_high = "int32" if dtype not in ("int32", "int64") else dtype, (0, rows - 1)
    if isinstance(wanted, TensorSpec):
        dtype, low_high = (wanted.dtype if rows is not None else dtype), low_high or wanted.range
    spec = TensorSpec(name, ("batch", *full), dtype, "NCHW" if is_image else "", low_high)
    return Input(spec, Value(name, _last(full) if moved else full, moved))


def _tables(model: Any, tensor: Any) -> Iterator[int]:
    """Rows of every Embedding that looks an input up directly."""
    from paring.load.keras.translate import _function, _ordered

    graph = _function(model)
    for node in _ordered(graph):
        for position, one in enumerate(node.input_tensors):
            if one is not tensor:
                continue
            inner = _function(node.operation)
            if type(node.operation).__name__ == "Embedding":
                yield int(node.operation.input_dim)
            elif inner is not None:
                yield from _tables(node.operation, inner.inputs[position])


def _names(tensors: list[Any], task: Task | None) -> list[str]:
    from paring.load.blueprint import Names

    if task is not None and len(tensors) == len(task.inputs) == 1:
        return [task.inputs[0].name]
    fresh = Names()
    return [fresh(tensor.name) for tensor in tensors]


def _last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def _text(shape: Any) -> str:
    return "×".join("?" if size is None else str(size) for size in shape) or "()"
