"""What the checks of all targets begin with: the operators of a model, and the types that it takes and gives."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram

from paring.core.model import Model, TensorSpec
from paring.core.quiet import quiet
from paring.core.target import Problem


def examine(model: Model, runtime: str, dtypes: Collection[str]) -> tuple[ExportedProgram | None, list[Problem]]:
    """The operators of a model, None if it cannot be traced, and the problems found on the way.

    Args:
        model: to export.
        runtime: its name, for messages.
        dtypes: that inputs and outputs may have.
    """
    found = [
        Problem(f"{spec.dtype} is not a type of {runtime}'s tensors", spec.name, f"one of {', '.join(dtypes)}")
        for spec in (*model.inputs, *model.outputs)
        if spec.dtype not in dtypes
    ]
    try:
        return trace(model), found
    except Exception as error:  # torch.export raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = "avoid Python control flow that depends on values"
        return None, [*found, Problem(f"torch.export cannot trace it: {reason}", str(model.source), remedy)]


def trace(model: Model) -> ExportedProgram:
    """The model's operators for one sample."""
    with quiet():
        return torch.export.export(model.module, samples(model.inputs), strict=False)


def samples(inputs: tuple[TensorSpec, ...], batch: int = 1) -> tuple[torch.Tensor, ...]:
    """Zeros to trace with, of that batch size."""
    return tuple(torch.zeros(spec.sized(batch), dtype=getattr(torch, spec.dtype)) for spec in inputs)


def layer_of(meta: Mapping[str, Any]) -> str:
    """The layer that a traced operator comes from, e.g. `blocks.3.body.0`."""
    stack = meta.get("nn_module_stack") or {}
    names = [path for path, _ in stack.values() if path]
    return names[-1].removeprefix("L['self'].") if names else "the model"
