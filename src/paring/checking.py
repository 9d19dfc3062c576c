"""A model against a device, before any work: everything that matters there, in one list."""

from collections.abc import Iterable, Sequence
from math import ceil

from torch import fx
from torch.export import ExportedProgram

from paring import opening
from paring.core.device import Device, Number
from paring.core.model import Model
from paring.core.step import Phase, Step, StepConfig
from paring.core.target import Advises, Problem, Target, remarks
from paring.measure.room import room
from paring.recipes.recipe import Lines
from paring.targets import TARGETS
from paring.targets.traced import layers_of, operator, shared, trace, untraceable

_ORDER = ("refuses", "slow", "note")
_WORTH_SAYING = 0.1  # share of the lanes that idle


def findings(model: Model, device: Device, targets: Sequence[str] = ()) -> list[Problem]:
    """All that is to be said of a model on a device, what refuses first.

    Args:
        model: as it is to be compressed.
        device: whose figures count.
        targets: names of runtimes instead of the device's.

    Raises:
        MissingExtra: a package that a target needs is not installed.
    """
    names = tuple(targets) or tuple(one.name for one in device.targets)
    known = [_target(name, device) for name in names if name in TARGETS]
    found = _unregistered(names, device)
    try:
        program = trace(model)
    except Exception as error:  # of many kinds
        return _sorted([*found, untraceable(model, error)])
    with shared(model, program):
        for target in known:
            problems = _checked(target, model)
            found += [*problems, *remarks(target)]
            if isinstance(target, Advises) and all(one.severity != "refuses" for one in problems):
                found += target.advise(model, program)
    kinds = tuple(kind for kind in device.dtypes if all(kind in target.limits.activations for target in known[:1]))
    return _sorted([*found, *_lanes(program, device, kinds), *_shapes(model), *room(model, program, device, kinds)])


def _target(name: str, device: Device) -> Target:
    """A target as the device's options make it."""
    lines = Lines(f"device {device.name}")
    own = [opening.target(one, lines, at)[0] for at, one in enumerate(device.targets) if one.name == name]
    found: Target = own[0] if own else TARGETS.load(name)()
    return found


def without_room(model: Model, device: Device, steps: Sequence[tuple[Step, StepConfig]]) -> list[Problem]:
    """Why no file that a recipe makes of a model can fit a device; empty where one may, or nothing is known.

    Args:
        model: that the recipe begins with.
        device: of the recipe.
        steps: where one of them makes the network smaller, only the result can tell.
    """
    if (device.ram, device.flash) == (None, None) or any(step.phase == Phase.STRUCTURE for step, _ in steps):
        return []
    quantizes = any(step.phase == Phase.QUANTIZATION for step, _ in steps)
    kinds: tuple[Number, ...] = tuple(kind for kind in device.dtypes if kind == ("int8" if quantizes else "float32"))
    found = room(model, trace(model), device, kinds or device.dtypes)
    return [one for one in found if one.severity == "refuses"]


def _unregistered(names: Sequence[str], device: Device) -> list[Problem]:
    """A finding for each target that this version of paring does not have; the first one decides."""
    known = ", ".join(TARGETS.names())
    return [
        Problem(
            f"this version of paring has no target {name}, so it can neither check nor export for it",
            f"device {device.name}",
            f"--target with one of {known}, if the device runs it",
            "note" if position else "refuses",
        )
        for position, name in enumerate(names)
        if name not in TARGETS
    ]


def _checked(target: Target, model: Model) -> Sequence[Problem]:
    try:
        return target.check(model)
    except ModuleNotFoundError as error:
        raise TARGETS.missing(target.name, error) from error


def _lanes(program: ExportedProgram, device: Device, kinds: Sequence[Number]) -> Iterable[Problem]:
    """Counts of channels that leave lanes of the device's vectors idle; a classifier's classes are as they are."""
    lanes = device.accelerates.lanes if device.accelerates else {}
    kind = max((kind for kind in kinds if kind in lanes), key=lanes.__getitem__, default=None)
    if device.accelerates is None or kind is None:
        return
    layers: dict[int, list[fx.Node]] = {}
    for node in program.graph.nodes:
        if operator(node) in {"conv1d", "conv2d", "linear"} and all(user.op != "output" for user in node.users):
            layers.setdefault(int(node.meta["val"].shape[-1 if operator(node) == "linear" else 1]), []).append(node)
    wide = lanes[kind]
    for channels, nodes in sorted(layers.items()):
        idle = 1 - channels / (wide * ceil(channels / wide))
        if idle > _WORTH_SAYING:
            yield Problem(
                f"{channels} channels can leave {100 * idle:.0f} % of {device.accelerates.unit} idle, "
                f"which computes on {wide} of {kind} at once",
                layers_of(nodes),
                f"a multiple of {wide} channels, e.g. prune.channels with round_to: {wide}",
                "slow",
            )


def _shapes(model: Model) -> Iterable[Problem]:
    """Sizes that are free in the model and fixed on the device."""
    for spec in model.inputs:
        for name, size in spec.free.items():
            yield Problem(
                f"its {name} is free in the model and fixed at {size} in a file",
                spec.name,
                f"give the data that {name} which the device will see",
                "note",
            )


def _sorted(found: Iterable[Problem]) -> list[Problem]:
    return sorted(found, key=lambda one: _ORDER.index(one.severity))
