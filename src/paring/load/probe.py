"""What a module takes and gives, found by asking it."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from paring.core.errors import ParingError
from paring.core.model import Edit, Model, Source, TensorSpec
from paring.core.task import Task, matched
from paring.load import alone, call


def model(module: nn.Module, source: Source, inputs: tuple[TensorSpec, ...]) -> Model:
    """The model of a module, its outputs found by one forward pass of zeros.

    A module that takes its inputs by name or in a dictionary, or gives a list or a dictionary, is brought to the
    working form (`paring.load.call`); a dictionary's keys name the outputs.

    Raises:
        ParingError: the module does not take such inputs, gives something other than tensors with the batch first, or
            does not answer each sample by itself (`paring.load.alone`).
    """
    _sound(inputs, str(source))
    module.eval()
    style = call.style(module, inputs, str(source))
    answer = _answer(module, source, inputs, style)
    keys, tensors = call.flat(answer, str(source))
    edits: tuple[Edit, ...] = ()
    if style != "order" or not call.plain(answer):
        module = call.adapt(module, [spec.name for spec in inputs], style)
        edits = (Edit("call", {"inputs": style}),)
    outputs = []
    for name, tensor in zip(keys, tensors, strict=True):
        if tensor.ndim == 0 or tensor.shape[0] != 2:
            raise ParingError(
                f"for a batch of 2 its forward pass gives {name} of shape {tuple(tensor.shape)}",
                str(source),
                "return tensors with the batch first",
            )
        outputs.append(TensorSpec(name, ("batch", *tensor.shape[1:]), str(tensor.dtype).removeprefix("torch.")))
    found = Model(module, source, inputs, tuple(outputs), edits)
    alone.check(found)
    return found


def _sound(inputs: tuple[TensorSpec, ...], where: str) -> None:
    """Raises ParingError if inputs cannot be told apart, or one is not a batch of samples."""
    names = [spec.name for spec in inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not all(names):
        problem = f"two of its inputs are called {twice[0]!r}" if twice else "an input has no name"
        raise ParingError(problem, where, "give each a name of its own: --shape NAME=3,224,224")
    for spec in inputs:
        if not spec.shape or spec.shape[0] in spec.free or not isinstance(spec.shape[0], str):
            raise ParingError(
                f"its input {spec.name} of shape {spec.shape} is not one of samples, the batch first",
                where,
                "give what is the same for all samples to the module as a buffer, not as an input",
            )


def fitted(model: Model, task: Task) -> Model:
    """The model for a task: its inputs under the task's names, and of the task's sizes where they are free.

    Inputs are matched by name, those without a namesake by their order.

    Raises:
        ParingError: the model does not take what the task holds, or has no answer for each of its labels.
    """
    feeds = matched(model.inputs, task.inputs, str(model.source))
    by_name = {spec.name: spec for spec in task.inputs}
    inputs = []
    for own in model.inputs:
        given = by_name[feeds[own.name]]
        if not _takes(own, given):
            raise ParingError(
                f"takes {own.name} of shape {own.shape[1:]}, {task.name} gives {given.shape[1:]}",
                str(model.source),
                "use the data that the model was made for, or give the data another size: NAME(size=…)",
            )
        if own.dtype.startswith("int") and own.range and given.range and given.range[1] > own.range[1]:
            raise ParingError(
                f"knows {own.name} up to {own.range[1]}, {task.name} gives up to {given.range[1]}",
                str(model.source),
                "take the tokenizer that the model was trained with: leave the option tokenizer out",
            )
        free = {str(size): length for size, length in zip(own.shape, given.sized(1), strict=True) if size in own.free}
        inputs.append(replace(own, name=given.name, free=free))
    model = replace(model, inputs=tuple(inputs))
    classes = model.outputs[0].shape[-1]
    if task.labels and classes != len(task.labels):
        raise ParingError(
            f"gives {classes} values for each sample, {task.name} has {len(task.labels)} labels",
            str(model.source),
            f"build the model for {len(task.labels)} classes",
        )
    return model


def _takes(own: TensorSpec, given: TensorSpec) -> bool:
    """Whether all sizes agree but the free ones."""
    return len(own.shape) == len(given.shape) and all(
        wanted in own.free or wanted == size for wanted, size in zip(own.shape[1:], given.sized(1)[1:], strict=True)
    )


def _answer(module: nn.Module, source: Source, inputs: tuple[TensorSpec, ...], style: call.Style) -> Any:
    zeros = [torch.zeros(spec.sized(2), dtype=getattr(torch, spec.dtype)) for spec in inputs]
    shapes = ", ".join(f"{spec.name} {tuple(zero.shape)}" for spec, zero in zip(inputs, zeros, strict=True))
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            return call.ask(module, [spec.name for spec in inputs], style, zeros)
    except Exception as error:  # a forward pass can fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ParingError(
            f"its forward pass fails on {shapes}: {reason}",
            str(source),
            "give the shape it takes: --shape 3,224,224, or NAME(size=…) for the data",
        ) from error
