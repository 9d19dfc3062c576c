"""The order of phases: structure → sparsity → quantization; recovery may stand after any of them but the last."""

from collections.abc import Sequence

from paring.core.errors import ParingError
from paring.core.step import Phase
from paring.recipes.recipe import Lines

REASONS = {
    Phase.STRUCTURE: "it changes shapes, so masks and scales fixed before it would no longer fit",
    Phase.SPARSITY: "it changes weights, so scales fixed before it would no longer fit",
    Phase.RECOVERY: "it trains weights, so scales fixed before it would no longer fit",
}


def check(steps: Sequence[tuple[str, Phase]], lines: Lines) -> None:
    """Raises ParingError if a step stands after one of a later phase, with the reason and an order that works."""
    latest, name_of_latest = Phase.RECOVERY, ""
    for position, (name, phase) in enumerate(steps):
        late_recovery = phase is Phase.RECOVERY and latest is Phase.QUANTIZATION
        if (phase is not Phase.RECOVERY and phase < latest) or late_recovery:
            raise ParingError(
                f"{name} cannot come after {name_of_latest}: {REASONS[phase]}",
                lines.of(("steps", position)),
                f"this order: {' → '.join(_ordered(steps))}",
            )
        if phase is not Phase.RECOVERY:
            latest, name_of_latest = phase, name


def _ordered(steps: Sequence[tuple[str, Phase]]) -> list[str]:
    """The same steps in an order that works: recovery stays behind the step it followed, but before quantization."""
    groups: dict[Phase, list[str]] = {phase: [] for phase in Phase}
    current = Phase.RECOVERY
    for name, phase in steps:
        if phase is not Phase.RECOVERY:
            current = phase
        groups[Phase.SPARSITY if phase is Phase.RECOVERY and current is Phase.QUANTIZATION else current].append(name)
    return [name for phase in Phase for name in groups[phase]]
