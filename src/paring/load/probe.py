"""What a module takes and gives, found by asking it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.core.task import Task


def model(module: nn.Module, source: Source, inputs: tuple[TensorSpec, ...]) -> Model:
    """The model of a module, its outputs found by one forward pass of zeros.

    Raises:
        ParingError: the module does not take such inputs, or gives something other than tensors with the batch first.
    """
    module.eval()
    outputs = []
    for position, tensor in enumerate(_answers(module, source, inputs)):
        name = "output" if position == 0 else f"output_{position}"
        outputs.append(TensorSpec(name, ("batch", *tensor.shape[1:]), str(tensor.dtype).removeprefix("torch.")))
    return Model(module, source, inputs, tuple(outputs))


def fits(model: Model, task: Task) -> None:
    """Raises ParingError unless the model takes what the task holds and has an answer for each of its labels."""
    for own, given in zip(model.inputs, task.inputs, strict=False):
        if own.shape[1:] != given.shape[1:]:
            raise ParingError(
                f"takes {own.name} of shape {own.shape[1:]}, {task.name} gives {given.shape[1:]}",
                str(model.source),
                "use the data that the model was made for, or give the data another size: NAME(size=…)",
            )
    classes = model.outputs[0].shape[-1]
    if task.labels and classes != len(task.labels):
        raise ParingError(
            f"gives {classes} values for each sample, {task.name} has {len(task.labels)} labels",
            str(model.source),
            f"build the model for {len(task.labels)} classes",
        )


def _answers(module: nn.Module, source: Source, inputs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    zeros = [torch.zeros(spec.sized(2), dtype=getattr(torch, spec.dtype)) for spec in inputs]
    shapes = ", ".join(f"{spec.name} {tuple(zero.shape)}" for spec, zero in zip(inputs, zeros, strict=True))
    try:
        with torch.inference_mode():
            answer: Any = module(*zeros)
    except Exception as error:  # a forward pass can fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(
            f"its forward pass fails on {shapes}: {reason}",
            str(source),
            "give the shape it takes: --shape 3,224,224, or NAME(size=…) for the data",
        ) from error
    if isinstance(answer, Mapping):
        raise ParingError("its forward pass gives a dictionary", str(source), "return a tensor, or a tuple of tensors")
    answers = answer if isinstance(answer, tuple) else (answer,)
    for tensor in answers:
        if not isinstance(tensor, Tensor) or tensor.ndim == 0 or tensor.shape[0] != 2:
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ParingError(
                f"for a batch of 2 its forward pass gives {got}", str(source), "return tensors with the batch first"
            )
    return answers
