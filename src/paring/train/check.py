"""What can be found wrong with a training before it begins."""

import torch

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.task import Batch, Task
from paring.train.config import TrainConfig


def check(model: Model, task: Task, config: TrainConfig, processes: int = 1) -> None:
    """Tries two samples on the model.

    Raises:
        ParingError: weights that are not finite or not trainable, inputs or labels that do not fit, a batch size that
            the split cannot fill.
    """
    _weights(model)
    _sizes(task, config, processes)
    batch = next(iter(task.batches("train", 2, limit=2)))
    _inputs(model, task, batch)
    where, shapes = str(model.source), {name: tuple(tensor.shape) for name, tensor in batch.inputs.items()}
    try:
        outputs = model(batch.inputs)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ParingError(
            f"the model fails on a batch of the task {task.name}, {shapes}: {str(error).splitlines()[0]}",
            where,
            "build the model for the shape and type of the task's inputs",
        ) from error
    answers = outputs[model.outputs[0].name]
    if answers.ndim != 2:
        raise ParingError(
            f"the output {model.outputs[0].name} has shape {tuple(answers.shape)}, not (batch, classes)",
            where,
            "train a model that ends in one value per class",
        )
    classes = answers.shape[1]
    needed = max(len(task.labels), int(batch.targets.max()) + 1)
    if needed > classes:
        raise ParingError(
            f"the task {task.name} has {needed} labels, the model {classes} outputs",
            where,
            f"build the model with {needed} outputs",
        )


def _weights(model: Model) -> None:
    for name, tensor in model.module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ParingError(
                f"the tensor {name} holds values that are not finite",
                str(model.source),
                "load weights from a training that did not diverge",
            )
    if not any(parameter.requires_grad for parameter in model.module.parameters()):
        raise ParingError(
            "no parameter is trainable", str(model.source), "set requires_grad on the parameters to be trained"
        )


def _sizes(task: Task, config: TrainConfig, processes: int) -> None:
    held = task.size("train")
    if config.batch_size > held:
        raise ParingError(
            f"batch_size={config.batch_size}, but the training split holds {held} samples",
            f"task {task.name}",
            f"set batch_size to {held} or less",
        )
    if config.batch_size < processes:
        raise ParingError(
            f"batch_size={config.batch_size} cannot be shared by {processes} processes",
            f"task {task.name}",
            f"set batch_size to {processes} or more, or start fewer processes",
        )
    for option, needs, instead in (("keep", "best", "last"), ("schedule", "plateau", "onecycle")):
        if getattr(config, option) == needs and task.size("validation") == 0:
            raise ParingError(
                f"{option}={needs!r} needs validation samples, and there are none",
                f"task {task.name}",
                f"set {option}={instead!r}",
            )


def _inputs(model: Model, task: Task, batch: Batch) -> None:
    for spec in model.inputs:
        if spec.name not in batch.inputs:
            raise ParingError(
                f"the model's input {spec.name} is not among those of the task {task.name}: {', '.join(batch.inputs)}",
                str(model.source),
                "name the model's inputs as the task does",
            )
        shape = tuple(batch.inputs[spec.name].shape)
        fits = len(shape) == len(spec.shape) and all(
            isinstance(size, str) or size == given for size, given in zip(spec.shape, shape, strict=True)
        )
        if not fits:
            raise ParingError(
                f"the model's input {spec.name} has shape {spec.shape}, but the task {task.name} gives {shape}",
                str(model.source),
                f"build the model for inputs of shape {shape[1:]}",
            )
