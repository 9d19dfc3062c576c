"""Recovery: a network is trained a little more, with or without a teacher, and keeps what earlier steps won."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from paring.core.model import Model
from paring.core.step import Context
from paring.train.config import RecoverConfig
from paring.train.distillation.distillation import taught
from paring.train.evaluate import evaluate
from paring.train.history import told
from paring.train.loop import fit
from paring.train.zeros import Zeros


def recovered(model: Model, config: RecoverConfig | None, context: Context) -> Model:
    """The model that a step has made, trained, which its last event then tells; as it is where `config` is None.

    Raises:
        ParingError: as `recover`.
    """
    if config is None:
        return model
    trained, line = recover(model, config, context)
    return trained.told(f"; {line}")


def recover(
    model: Model,
    config: RecoverConfig,
    context: Context,
    *,
    directory: Path | None = None,
    between_steps: Callable[[nn.Module, int], None] | None = None,
) -> tuple[Model, str]:
    """Trains the model; weights that its invariants of sparsity name stay 0 at every step of the optimizer.

    Args:
        model: not quantized; untouched.
        config: how long, how fast, and whether `context.original` teaches.
        context: of the step that recovers.
        directory: keeps the state to go on from; None is the step's own folder. A step that trains several times gives
            each training a folder of its own.
        between_steps: as `fit` calls it, before zeros are put back.

    Returns:
        The model with trained weights, its history as it was; and one line on the training.

    Raises:
        ParingError: the model does not fit the task, or the training diverges.
    """
    zeros = Zeros(model.module, model.invariants)

    def between(module: nn.Module, done: int) -> None:
        if between_steps is not None:
            between_steps(module, done)
        zeros(module)

    before = evaluate(model, context.task, "validation") if context.task.size("validation") else None
    directory = directory or context.directory
    objective = taught(model, config, context, before, directory)
    fitted = fit(
        model, context.task, config, seed=context.seed, directory=directory, progress=context.progress,
        between_steps=between, objective=objective,
    )  # fmt: skip
    line = told(config, fitted, before)
    return replace(model, module=fitted.module), f"{line}, {objective.told}" if objective else line
