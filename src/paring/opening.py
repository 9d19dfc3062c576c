"""What a recipe names, opened: its data, its steps with their options, its targets."""

from collections.abc import Sequence
from pathlib import Path

from paring import data, devices, load
from paring.core.device import Device
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Model
from paring.core.step import Phase, Step, StepConfig
from paring.core.target import Estimates, ExportOptions, Problem, Target, TargetSpec, tailored, why_not_timed
from paring.core.task import Task
from paring.reaching import Place
from paring.recipes import order
from paring.recipes.quantity import Budget
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
    """The device, and the targets that the recipe names, else the device's own.

    Raises:
        ParingError: there is no such device; no target has such a name or such an option, in this version of paring.
    """
    device = devices.open(recipe.device)
    if not recipe.targets:
        lines = Lines(f"device {device.name}")
    found = []
    for position, spec in enumerate(recipe.targets or device.targets):
        if spec.name not in TARGETS:
            raise UnknownName.of("target", spec.name, TARGETS.names(), where=lines.of(("targets", position)))
        found.append(target(spec, lines, position))
    return device, found


def target(spec: TargetSpec, lines: Lines, position: int) -> tuple[Target, ExportOptions]:
    """One of the targets of a recipe or a device, as its options make it, and these.

    Raises:
        ParingError: it has no such option.
    """
    found: Target = TARGETS.load(spec.name)()
    options = validated(found.Options, spec.options, lines, ("targets", position))
    return tailored(found, options), options


def judged(budgets: Sequence[Budget], targets: Sequence[tuple[Target, ExportOptions]]) -> None:
    """Raises ParingError for a budget of time or memory that no target can be measured against, or estimated."""
    reasons = {target.name: why_not_timed(target) for target, _ in targets}
    if not all(reasons.values()):
        return
    estimated = {name for target, _ in targets if isinstance(target, Estimates) for name in target.judges}
    for one in budgets:
        if one.name in {"latency", "peak_memory"} - estimated:
            why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
            raise ParingError(
                f"{one.name} cannot be judged on this machine ({why})", f"require.{one.name}",
                "name a target besides that runs here, or leave the budget out",
            )  # fmt: skip


def measured_on(
    place: Place, recipe: Recipe, steps: Sequence[tuple[Step, StepConfig]], budgets: Sequence[Budget]
) -> None:
    """Raises ParingError if a device is out of reach, or cannot measure what the recipe wants measured."""
    where = f"on {place.address}"
    if recipe.measure.serving:
        raise ParingError("serving is measured on this machine alone", where, "leave `measure.serving` out")
    timed = [f"require.{one.name}" for one in budgets if one.name in ("latency", "peak_memory")]
    timed += [step.name for step, config in steps if config.measures]
    if place.emulated() and timed:
        raise ParingError(
            f"times and memory of an emulator are no device's, and {timed[0]} would be judged by them", where,
            "leave it out, or measure on a device",
        )  # fmt: skip


def told(given: Task) -> tuple[str, ...]:
    """What a task wants a reader of its figures to know, e.g. how many texts were cut; most have nothing to say."""
    return tuple(getattr(given, "notes", ()))


def quantizes(steps: Sequence[tuple[Step, StepConfig]], model: Model, target: Target) -> None:
    """Raises ParingError if a target takes quantized models alone and nothing quantizes the model."""
    if "float32" in target.limits.activations or model.quantized:
        return
    if not any(step.phase is Phase.QUANTIZATION for step, _ in steps):
        raise ParingError(
            f"{target.name} runs models that are quantized to int8, and the recipe quantizes nothing", "steps",
            "add quantize.static (or quantize.qat) as the last step",
        )  # fmt: skip


def refuse(problems: Sequence[Problem], where: str) -> Sequence[Problem]:
    """The problems that do not refuse. Raises ParingError if any does, all of these in one message."""
    blocking = [problem for problem in problems if problem.severity == "refuses"]
    if blocking:
        all_of_them = "; ".join(f"{problem.where}: {problem.problem}" for problem in blocking)
        raise ParingError(all_of_them, where, "; ".join(dict.fromkeys(problem.remedy for problem in blocking)))
    return problems
