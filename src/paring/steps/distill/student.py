"""A student takes the teacher's place: some of its layers, all of them narrower, or another architecture.

Layers: Sanh et al. 2019, "DistilBERT, a distilled version of BERT", arXiv:1910.01108, section 3: every other layer of
the teacher, weights copied. Widths: the most important channels of each group, weights copied. What the student then
learns from its teacher is `recover`, or a later step.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from paring.core.entry import parse
from paring.core.errors import ParingError
from paring.core.model import Event, Model, Skipped, TensorSpec
from paring.core.step import Context, Named, Phase, StepConfig
from paring.train.config import RecoverConfig

Position = Annotated[int, Field(ge=0, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
_WAYS = {  # way -> options that belong to it
    "layers": {"only", "keep"},
    "width": {"only", "keep", "round_to", "importance", "compensate"},
    "model": set[str](),
}


class StudentConfig(StepConfig):
    """Options of `distill.student`: exactly one of `layers`, `width` and `model`.

    Patterns are shell patterns on names, as in `prune.blocks` (for `layers`) and `prune.channels` (for `width`).

    Attributes:
        layers: which of the blocks that the network can do without stay (residual blocks, transformer layers): how
            many, spread evenly from the first to the last (6 of 12 are 0, 2, 4, 7, 9, 11, as in DistilBERT); or their
            positions, ascending. Positions count the blocks that `only` and `keep` leave to choose from, from 0, in
            the order of the network, through all lists that hold such blocks. Other blocks stay.
        width: share of the channels of every group that stays.
        model: another architecture, of any front door, perhaps with weights.
        only: patterns of the blocks or layers that may go or become narrower; all if empty.
        keep: patterns of those that stay as they are.
        round_to: with `width`: groups keep a multiple of so many channels, or all; those that have no more keep all.
        importance: with `width`: which channels matter, as in `prune.channels`.
        compensate: with `width`: whether layers that read the channels are refitted to do without the others; else
            every weight is one of the teacher's.
        recover: how the student is trained; `teacher: original` is distillation. None leaves it as it is.
    """

    layers: Count | tuple[Position, ...] | None = None
    width: float | None = Field(default=None, gt=0, lt=1)
    model: Named | None = None
    only: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    round_to: int = Field(default=8, ge=1)
    importance: Literal["elimination", "l1", "l2", "bn_scale", "taylor", "fpgm", "lamp", "random"] = "elimination"
    compensate: bool = False
    recover: RecoverConfig | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            told = " and ".join(given) if given else "none is given"
            raise ValueError(f"the student is made by exactly one of layers, width and model: {told}")
        for name in sorted(_WAYS["width"] - _WAYS[given[0]]):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} means nothing with {given[0]}")
        if isinstance(self.layers, tuple) and (not self.layers or sorted(set(self.layers)) != list(self.layers)):
            raise ValueError(f"layers={list(self.layers)}: give positions ascending, each once, at least one")
        return self

    @property
    def named(self) -> tuple[Named, ...]:
        """The other architecture."""
        return () if self.model is None else (self.model,)


class DistillStudent:
    """`distill.student`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "distill.student"
    phase: ClassVar[Phase] = Phase.STRUCTURE
    Config: ClassVar[type[StepConfig]] = StudentConfig

    def apply(self, model: Model, config: StudentConfig, context: Context) -> Model:
        """The student.

        Raises:
            ParingError: the model is quantized; it has no block that can go, or not those that are named; none of its
                channels can be cut; the other architecture cannot be had, is an exported file, is quantized, or takes
                or gives something else than the model.
            UnknownName: a pattern matches nothing.
        """
        from paring.train.recovery import recovered

        if model.fixed:
            raise ParingError(
                "a quantized model cannot become a student: its scales are fixed",
                self.name,
                "place it before quantization",
            )
        if config.layers is not None:
            student = self._fewer_layers(model, config, context, config.layers)
        elif config.width is not None:
            student = self._narrower(model, config, context, config.width)
        else:
            student = self._other(model, config, context)
        return recovered(student, config.recover, context)

    def _fewer_layers(
        self, model: Model, config: StudentConfig, context: Context, layers: int | tuple[int, ...]
    ) -> Model:
        from paring.steps import goal, reestimate, shapes
        from paring.steps.prune.structure import residual

        free, skipped = residual.chosen(residual.find(model), config.only, config.keep, self.name)
        stay = _staying(layers, free, f"{self.name}: layers")
        module = copy.deepcopy(model.module)
        for name in free:
            if name not in stay:
                if residual.is_last(module, name):
                    raise ParingError(
                        f"{name} has to stay: it is the last of its list or class",
                        f"{self.name}: layers",
                        f"keep: [{name}], which leaves it out of the count",
                    )
                residual.remove(module, name)
        told = f"kept {len(stay)} of {len(free)} blocks ({', '.join(stay)}), weights copied; "
        told += goal.told(model, replace(model, module=module)) + reestimate.told(model, module, context.task)
        return shapes.cut(model, module, self._event(config, told, skipped))

    def _narrower(self, model: Model, config: StudentConfig, context: Context, width: float) -> Model:
        from paring.steps import goal, shapes
        from paring.steps.prune.channels import CutConfig
        from paring.steps.prune.structure import widths
        from paring.steps.prune.structure.cut import Cut

        copied = config.model_dump(include={"importance", "round_to", "only", "keep", "compensate"})
        options = CutConfig.model_validate({**copied, "floor": width / 2})
        cut = Cut(model, options, context, self.name)
        stay = widths.shared(cut.allowed, width)
        found = cut.model(stay)
        narrower = sum(units < cut.allowed[name][-1] for name, units in stay.items())
        done = "what reads them refitted" if config.compensate else "weights copied"
        told = f"kept {100 * width:g} % of the channels of {narrower} groups, {done}; {goal.told(model, found)}"
        skipped = tuple(Skipped(layer, reason) for layer, reason in cut.skipped.items())
        return shapes.cut(model, found.module, self._event(config, told, skipped))

    def _other(self, model: Model, config: StudentConfig, context: Context) -> Model:
        from paring.steps import goal

        assert config.model is not None  # noqa: S101 - the options were checked
        where = f"{self.name}: model {config.model}"
        if context.opened is None:
            raise ParingError("models cannot be named here", where, "run the step in a recipe")
        student = context.opened(config.model)
        if not isinstance(student, Model):
            raise ParingError("an exported file cannot be trained or exported again", where, "name the model behind it")
        if student.quantized:
            raise ParingError("is quantized, so that its weights are fixed", where, "name it as it was before")
        if problems := _differences(model, student):
            raise ParingError(
                f"cannot take the teacher's place: {'; '.join(problems)}",
                where,
                "build the student for the teacher's inputs and classes",
            )
        told = f"{student.source} in the place of {model.source}, {_weights(config.model)}; {goal.told(model, student)}"
        history = (*model.history, *student.history)
        return replace(student, history=history).changed(student.module, self._event(config, told, ()))

    def _event(self, config: StudentConfig, told: str, skipped: tuple[Skipped, ...]) -> Event:
        return Event(self.name, config.model_dump(mode="json"), told, skipped)


def spread(count: int, among: int) -> tuple[int, ...]:
    """So many positions out of `among`, evenly from the first to the last; of one, the first.

    >>> spread(6, 12)
    (0, 2, 4, 7, 9, 11)
    """
    return tuple(int(i * (among - 1) / max(count - 1, 1) + 0.5) for i in range(count))


def _staying(layers: int | tuple[int, ...], free: Sequence[str], where: str) -> list[str]:
    """Names of the blocks that stay."""
    there = len(free)
    listed = ", ".join(f"{position} {name}" for position, name in enumerate(free))
    if (layers if isinstance(layers, int) else len(layers)) >= there:
        wanted = layers if isinstance(layers, int) else len(layers)
        raise ParingError(
            f"{wanted} blocks are to stay, and there are {there} that could go", where, f"fewer than {there}: {listed}"
        )
    positions = spread(layers, there) if isinstance(layers, int) else layers
    if beyond := [position for position in positions if position >= there]:
        raise ParingError(f"there is no block {beyond[0]}", where, f"positions of these: {listed}")
    return [free[position] for position in positions]


def _differences(teacher: Model, student: Model) -> list[str]:
    """What a student takes or gives that its teacher does not, in words. It may take fewer inputs."""
    given = {spec.name: spec for spec in teacher.inputs}
    found = [
        f"it takes {_told(spec)}, the teacher {_told(given[spec.name]) if spec.name in given else ', '.join(given)}"
        for spec in student.inputs
        if spec.name not in given or _told(spec) != _told(given[spec.name])
    ]
    ours, theirs = (", ".join(map(_told, one.outputs)) for one in (student, teacher))
    return found if ours == theirs else [*found, f"it gives {ours}, the teacher {theirs}"]


def _told(spec: TensorSpec) -> str:
    """`image (3, 32, 32) float32`: one sample."""
    return f"{spec.name} {spec.sized(1)[1:]} {spec.dtype}"


def _weights(named: Named) -> str:
    """Where the weights of a named model are from."""
    if named.weights is not None:
        return f"weights of {named.weights}"
    match parse(named.model).scheme:
        case "zoo":
            return "weights drawn from the seed"
        case "torch" | "torchvision" | "timm":
            return "weights as the function that makes it gives them, drawn from the seed where it draws"
        case _:
            return "with its own weights"
