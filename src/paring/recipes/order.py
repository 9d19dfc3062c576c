"""The order of steps, as data: what may not stand behind what, and why.

Phases say most of it: structure → sparsity → quantization, recovery behind any of them but the last. The other rules
are on single steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from paring.core.errors import ParingError
from paring.core.step import Phase, Step, StepConfig
from paring.recipes.recipe import Lines

Kind = Phase | str  # all steps of a phase, or a shell pattern on names


@dataclass(frozen=True, slots=True)
class Rule:
    """What may not be.

    Attributes:
        later: the steps that may not stand behind `earlier`.
        earlier: the steps that they may not stand behind.
        reason: why, as the end of a sentence on the later step.
        given: an option of the later step with which alone the rule holds; empty for always.
        unless: options of the later step, any of which lifts the rule.
    """

    later: tuple[Kind, ...]
    earlier: tuple[Kind, ...]
    reason: str
    given: str = ""
    unless: tuple[str, ...] = ()

    def __str__(self) -> str:
        with_ = f" with {self.given}" if self.given else ""
        without = f" without {' or '.join(self.unless)}" if self.unless else ""
        return f"{_told(self.later)}{with_}{without} never after {_told(self.earlier)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Placed:
    """A step in its place.

    Attributes:
        name: as in a recipe.
        phase: of the step.
        given: the options that the recipe sets.
    """

    name: str
    phase: Phase
    given: frozenset[str] = frozenset()

    @classmethod
    def of(cls, step: Step, config: StepConfig) -> "Placed":
        """The step with those of its options that are set, and not to nothing."""
        return cls(step.name, step.phase, frozenset(n for n in config.model_fields_set if getattr(config, n)))


_SCALES = "scales fixed before it would no longer fit"
_STATIC = ("quantize.static", "quantize.qat")
RULES: tuple[Rule, ...] = (
    Rule(
        (Phase.STRUCTURE,),
        (Phase.SPARSITY, Phase.QUANTIZATION),
        "it changes shapes, so masks and scales fixed before it would no longer fit",
    ),
    Rule((Phase.SPARSITY,), (Phase.QUANTIZATION,), f"it changes weights, so {_SCALES}"),
    Rule((Phase.RECOVERY,), (Phase.QUANTIZATION,), f"it trains weights, so {_SCALES}"),
    Rule(
        ("distill.student",),
        ("*",),
        "it puts another model in the place of the whole network, so all that was done to this one would be lost",
        given="model",
    ),
    Rule(
        ("prune.heads",),
        ("factorize.*",),
        "heads are cut from whole projection matrices, and these are products of smaller ones by then",
    ),
    Rule(
        ("prune.movement", "prune.rigl"),
        (Phase.SPARSITY,),
        "it moves zeros, and those that an earlier step won have to stay, so no layer would be left to it",
        unless=("layers", "keep"),
    ),
    Rule(
        ("prune.magnitude",),
        (Phase.SPARSITY,),
        "weights that are to come back may not be those that an earlier step made 0, so no layer would be left to it",
        given="regrow",
        unless=("layers", "keep"),
    ),
    Rule(_STATIC, (Phase.QUANTIZATION,), "it wants the float weights, and these are on a grid by then"),
    Rule((Phase.QUANTIZATION,), _STATIC, "one set of scales is fixed once, for all layers"),
)


def check(steps: Sequence[Placed], lines: Lines) -> None:
    """Raises ParingError if a step stands behind one that it may not, with the reason and an order that works."""
    for position, later in enumerate(steps):
        for earlier in reversed(steps[:position]):
            rule = broken(earlier, later)
            if rule is not None:
                raise ParingError(
                    f"{later.name} cannot come after {earlier.name}: {rule.reason}",
                    lines.of(("steps", position)),
                    _remedy(steps, earlier, later, rule),
                )


def broken(earlier: Placed, later: Placed) -> Rule | None:
    """The rule that one step breaks behind another; None where it may stand there."""
    return next(
        (
            rule
            for rule in RULES
            if any(_is(later, kind) for kind in rule.later)
            and any(_is(earlier, kind) for kind in rule.earlier)
            and (not rule.given or rule.given in later.given)
            and not later.given & {*rule.unless}
        ),
        None,
    )


def concerns(rule: Rule, step: Placed) -> bool:
    """Whether a rule speaks of the step, as the later one or as the earlier."""
    return any(_is(step, kind) for kind in (*rule.later, *rule.earlier))


def _is(step: Placed, kind: Kind) -> bool:
    return step.phase is kind if isinstance(kind, Phase) else fnmatchcase(step.name, kind)


def _remedy(steps: Sequence[Placed], earlier: Placed, later: Placed, rule: Rule) -> str:
    order = ordered(steps)
    if order is not None:
        return f"this order: {' → '.join(order)}"
    other = f", or choose layers of its own for {later.name} ({' or '.join(rule.unless)})" if rule.unless else ""
    return f"leave {earlier.name} or {later.name} out: no order of these steps works{other}"


def ordered(steps: Sequence[Placed]) -> list[str] | None:
    """The same steps in an order that works, as near to the given one as can be; None where there is none.

    Recovery stays behind the step that it followed, but goes before quantization.
    """
    left, found = _units(steps), list[str]()
    while left:
        free = [one for one in left if not any(_before(other, one) for other in left if other is not one)]
        if not free:
            return None
        chosen = min(free, key=lambda unit: _rank(unit, steps))
        left = [unit for unit in left if unit is not chosen]
        found += [step.name for step in chosen]
    return found


def _units(steps: Sequence[Placed]) -> list[list[Placed]]:
    """Each step with the recovery behind it; recovery that follows nothing, or quantization, by itself."""
    units: list[list[Placed]] = []
    for step in steps:
        goes_with = units[-1][0].phase if units else Phase.RECOVERY
        if step.phase is Phase.RECOVERY and goes_with in {Phase.STRUCTURE, Phase.SPARSITY}:
            units[-1].append(step)
        else:
            units.append([step])
    return units


def _before(one: Sequence[Placed], other: Sequence[Placed]) -> bool:
    """Whether one unit has to come before the other."""
    return any(broken(earlier, later) for earlier in other for later in one)


def _rank(unit: Sequence[Placed], steps: Sequence[Placed]) -> float:
    """Phase by phase; recovery that stood behind quantization comes last before it."""
    position = next(number for number, step in enumerate(steps) if step is unit[0])
    late = unit[0].phase is Phase.RECOVERY and any(step.phase is Phase.QUANTIZATION for step in steps[:position])
    return (Phase.SPARSITY + 0.5 if late else unit[0].phase) + position / (4 * len(steps))


def _told(kinds: Sequence[Kind]) -> str:
    names = (kind.name.lower() if isinstance(kind, Phase) else kind for kind in kinds)
    return " or ".join("any step" if name == "*" else name for name in names)
