"""What a recipe names, opened: its data, its steps with their options, its targets."""

from collections.abc import Sequence
from pathlib import Path

from paring import data, devices, load
from paring.core.device import Device
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Model
from paring.core.step import Step, StepConfig
from paring.core.target import ExportOptions, Problem, Target
from paring.core.task import Task
from paring.recipes import order
from paring.recipes.read import validated
from paring.recipes.recipe import Lines, Recipe
from paring.steps import STEPS
from paring.targets import TARGETS


def task(name: str, model: str) -> Task:
    """The data, tokenized as the model wants its texts."""
    return data.open(name, tokenization=load.tokenization(model))


def model(recipe: Recipe, given: Task) -> Model:
    """The model that the recipe begins with."""
    weights = Path(recipe.weights) if recipe.weights else None
    return load.open(recipe.model, weights=weights, task=given, seed=recipe.seed)


def steps(recipe: Recipe, lines: Lines) -> list[tuple[Step, StepConfig]]:
    """The recipe's steps with their options, in an order that holds.

    Raises:
        ParingError: no step has such a name or such an option, or the order does not hold.
    """
    found = []
    for position, spec in enumerate(recipe.steps):
        if spec.name not in STEPS:
            raise UnknownName.of("step", spec.name, STEPS.names(), where=lines.of(("steps", position)))
        step: Step = STEPS.load(spec.name)()
        found.append((step, validated(step.Config, spec.config, lines, ("steps", position))))
    order.check([order.Placed.of(step, config) for step, config in found], lines)
    return found


def targets(recipe: Recipe, lines: Lines) -> tuple[Device, list[tuple[Target, ExportOptions]]]:
    """The device, and the targets that the recipe names, else the device's own."""
    device = devices.open(recipe.device)
    wanted = [(spec.name, spec.options) for spec in recipe.targets] or [(n, ExportOptions()) for n in device.targets]
    for position, (name, _) in enumerate(wanted):
        if name not in TARGETS:
            raise UnknownName.of("target", name, TARGETS.names(), where=lines.of(("targets", position)))
    return device, [(TARGETS.load(name)(), options) for name, options in wanted]


def told(given: Task) -> tuple[str, ...]:
    """What a task wants a reader of its figures to know, e.g. how many texts were cut; most have nothing to say."""
    return tuple(getattr(given, "notes", ()))


def refuse(problems: Sequence[Problem], where: str) -> None:
    """Raises ParingError if there are problems, all of them in one message."""
    if problems:
        all_of_them = "; ".join(f"{problem.where}: {problem.problem}" for problem in problems)
        raise ParingError(all_of_them, where, "; ".join(dict.fromkeys(problem.remedy for problem in problems)))
