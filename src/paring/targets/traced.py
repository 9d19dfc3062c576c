"""A model's operators as `torch.export` sees them: where every target's check and export begin."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from paring.core.model import Model, TensorSpec
from paring.core.once import known
from paring.core.quiet import quiet
from paring.core.target import Problem

NO_LAYER = "the model"  # where a node was traced from no layer inside it
_shared: ContextVar[tuple[Model, ExportedProgram] | None] = ContextVar("shared", default=None)


@contextmanager
def shared(model: Model, program: ExportedProgram) -> Iterator[None]:
    """Inside, `trace` gives this program of the model, which takes a second or more to make; it must not be changed."""
    token = _shared.set((model, program))
    try:
        yield
    finally:
        _shared.reset(token)


def trace(model: Model) -> ExportedProgram:
    """The model's operators for one sample."""
    given = _shared.get()
    if given is not None and given[0] is model:
        return given[1]
    return known("trace", model, lambda: _traced(model))


def _traced(model: Model) -> ExportedProgram:
    with quiet():
        return torch.export.export(model.module, samples(model.inputs), strict=False)


def samples(inputs: tuple[TensorSpec, ...], batch: int = 1) -> tuple[torch.Tensor, ...]:
    """Zeros to trace with."""
    return tuple(torch.zeros(spec.sized(batch), dtype=getattr(torch, spec.dtype)) for spec in inputs)


def layer_of(meta: Mapping[str, Any]) -> str:
    """The layer that a node of a graph was traced from, by the node's `meta`."""
    stack = meta.get("nn_module_stack") or {}
    names = [path for path, _ in stack.values() if path]
    return names[-1].removeprefix("L['self'].") if names else NO_LAYER


def operator(node: fx.Node) -> str:
    """The operator that a node calls, without its namespace and overload: `conv2d` of `aten.conv2d.default`."""
    return str(getattr(node.target, "__name__", node.target)).partition(".")[0]


def layers_of(nodes: Sequence[fx.Node]) -> str:
    """The layers that nodes of a graph were traced from, in short: `stem.0 and 3 more layers`."""
    first, *others = dict.fromkeys(layer_of(node.meta) for node in nodes)
    return first if not others else f"{first} and {len(others)} more layer{'s'[: len(others) > 1]}"


def of_other_types(model: Model, types: Sequence[str], runtime: str) -> list[Problem]:
    """A problem for each input and output of a type that is none of `types`."""
    return [
        Problem(f"{spec.dtype} is not a type of {runtime}'s tensors", spec.name, f"one of {', '.join(types)}")
        for spec in (*model.inputs, *model.outputs)
        if spec.dtype not in types
    ]


def untraceable(model: Model, error: Exception) -> Problem:
    """The problem of a model that `trace` failed on with `error`."""
    return Problem(
        f"torch.export cannot trace it: {first_line(error)}",
        str(model.source),
        "avoid Python control flow that depends on values",
    )


def first_line(error: Exception) -> str:
    """What an error says, on one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
